// Visits pages in Chromium and says what it saw: `node browse.mjs PLAYWRIGHT AXE CHROMIUM`, a list of visits as JSON on
// stdin, their results as JSON on stdout. A visit: {url, click, token, width, height, scheme, picture, audited}.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [playwright, axe, executablePath] = process.argv.slice(2);
const { chromium } = createRequire(import.meta.url)(playwright);
const visits = JSON.parse(readFileSync(0, "utf8"));

const DEADLINE = 60_000;

async function audit(page) {
  await page.evaluate(readFileSync(axe, "utf8") + "; undefined");
  const { violations } = await page.evaluate(() => globalThis.axe.run({ iframes: false }));
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html}: ${node.failureSummary}`));
}

// A page that loads itself again may do so just now.
async function settled(look) {
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (!String(error).includes("Execution context was destroyed")) throw error;
    }
  }
}

async function visit(browser, { url, click, token, width, height, scheme, picture, audited }) {
  const context = await browser.newContext({
    colorScheme: scheme,
    viewport: { width, height },
    extraHTTPHeaders: token ? { Authorization: `Bearer ${token}` } : {},
  });
  context.setDefaultTimeout(DEADLINE);
  const page = await context.newPage();
  const complaints = [];
  const requests = [];
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => complaints.push(`a dialog: ${dialog.message()}`));
  page.on("request", (request) => requests.push(request.url()));
  await page.goto(url, { waitUntil: "load" });
  if (click) {
    await page.click(click);
    await page.waitForFunction(() => document.title.startsWith("All is well"));
  }
  const seen = await settled(() => page.evaluate(() => ({
    title: document.title,
    text: document.body.innerText,
    address: location.href,
    wide: document.documentElement.scrollWidth,
    background: getComputedStyle(document.body).backgroundColor,
    fills: [...document.querySelectorAll(".chart rect")].map((rect) => getComputedStyle(rect).fill),
    heard: [...document.querySelectorAll(".chart title")].map((title) => title.textContent),
  })));
  const violations = audited ? await audit(page) : [];
  const cookies = await context.cookies();
  if (picture) await page.screenshot({ path: picture });
  await context.close();
  return { ...seen, complaints, requests, violations, cookies };
}

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"], timeout: DEADLINE });
const seen = [];
for (const each of visits) seen.push(await visit(browser, each));
await browser.close();
process.stdout.write(JSON.stringify(seen));
