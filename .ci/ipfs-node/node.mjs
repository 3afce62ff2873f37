// An IPFS node for tests, of Helia's parts: blocks, files, directories and CARs are Helia's, IPNS records are checked by
// js-ipns; HTTP, the root of MFS, pins and garbage collection are written here. `node node.mjs FOLDER` prints {"rpc": …, "gateway": …} when it answers:
// the part of kubo's RPC that we use, in kubo's words; and a trustless gateway with delegated routing for IPNS.
import http from 'node:http'
import { parseArgs } from 'node:util'
import { car } from '@helia/car'
import { unixfs } from '@helia/unixfs'
import * as dagPb from '@ipld/dag-pb'
import { FsBlockstore } from 'blockstore-fs'
import { FsDatastore } from 'datastore-fs'
import { Key } from 'interface-datastore'
import { UnixFS } from 'ipfs-unixfs'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'
import { multihashToIPNSRoutingKey } from 'ipns'
import { ipnsSelector } from 'ipns/selector'
import { ipnsValidator } from 'ipns/validator'
import { base32 } from 'multiformats/bases/base32'
import { base36 } from 'multiformats/bases/base36'
import { base58btc } from 'multiformats/bases/base58'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'
import * as raw from 'multiformats/codecs/raw'

const { values: { port, 'gateway-port': gatewayPort }, positionals: [folder] } = parseArgs({
  allowPositionals: true,
  options: { port: { type: 'string', default: '0' }, 'gateway-port': { type: 'string', default: '0' } }
})
const PEER = '12D3KooWTestsTestsTestsTestsTestsTestsTestsTestsTest'

class Failed extends Error {
  constructor (message, status = 500, code = 0) {
    super(message)
    Object.assign(this, { status, code })
  }
}

// What it keeps

class Blocks extends FsBlockstore { // ... with the last directories in memory: every change of MFS reads them again
  directories = new Map()

  async put (cid, bytes, options) {
    if (cid.code === dagPb.code && bytes instanceof Uint8Array && isDirectory(dagPb.decode(bytes))) {
      this.directories.set(cid.toString(), bytes)
      if (this.directories.size > 100) this.directories.delete(this.directories.keys().next().value)
    }
    return super.put(cid, bytes, options)
  }

  async * get (cid, options) {
    const known = this.directories.get(cid.toString())
    if (known == null) yield * super.get(cid, options)
    else yield known
  }
}

const isDirectory = (node) => /directory/.test(UnixFS.unmarshal(node.Data).type)

const blockstore = new Blocks(`${folder}/blocks`)
const datastore = new FsDatastore(`${folder}/data`)
await Promise.all([blockstore.open(), datastore.open()])

const codecs = new Map([[dagPb.code, dagPb], [raw.code, raw]])
const getCodec = (code) => codecs.get(code)
const silent = Object.assign(() => {}, { error: () => {}, trace: () => {} })
const components = { blockstore, datastore, getCodec, logger: { forComponent: () => silent } }
const files = unixfs(components)
const cars = car(components)

let last = Promise.resolve()
const oneByOne = (work) => (last = last.then(work, work)) // two changes of one directory would lose one of them

async function whole (parts) {
  const all = []
  for await (const part of parts) all.push(part)
  return Buffer.concat(all)
}

async function block (cid) {
  if (!blockstore.directories.has(cid.toString()) && !await blockstore.has(cid)) throw new Failed(`block was not found locally (offline): ipld: could not find ${cid}`)
  return whole(blockstore.get(cid))
}

const links = async (cid) => cid.code === dagPb.code ? dagPb.decode(await block(cid)).Links : []

async function walk (cid, seen) { // Adds the hashes of what is below *cid*.
  const hash = cid.multihash.bytes.toString()
  if (seen.has(hash)) return
  seen.add(hash)
  for (const link of await links(cid)) await walk(link.Hash, seen)
}

async function names (cid) { // In a directory, without a look at what has them.
  const node = dagPb.decode(await block(cid))
  if (UnixFS.unmarshal(node.Data).type === 'directory') return node.Links.map((link) => link.Name)
  const found = []
  for (const { Name, Hash } of node.Links) Name.length > 2 ? found.push(Name.slice(2)) : found.push(...await names(Hash))
  return found
}

async function child (cid, name) {
  if (cid.code !== dagPb.code) throw missing()
  const node = dagPb.decode(await block(cid))
  if (!isDirectory(node)) throw missing()
  if (UnixFS.unmarshal(node.Data).type === 'directory') {
    const found = node.Links.find((link) => link.Name === name)
    if (found == null) throw missing()
    return found.Hash
  }
  return (await files.stat(cid, { path: name }).catch(() => { throw missing() })).cid // sharded: Helia knows where
}

// The root of MFS

const ROOT = new Key('/local/filesroot')
const SHARDS = { shardSplitThresholdBytes: 12288 } // a directory of more than some hundred names is cut up, as kubo's are at 256 KiB

async function root () {
  const found = await datastore.get(ROOT).catch(() => null) // there is none yet
  return found == null ? files.addDirectory() : CID.decode(found)
}

async function changed (cid, path, change) { // The directory *cid*, with the one at *path* below it changed; made, if null.
  if (path.length === 0) return change(cid ?? await files.addDirectory())
  const [name, ...rest] = path
  const before = cid == null ? null : await child(cid, name).catch(() => null)
  return files.cp(await changed(before, rest, change), cid ?? await files.addDirectory(), name, { force: true, ...SHARDS })
}

const change = async (path, how) => datastore.put(ROOT, (await changed(await root(), path, how)).bytes)
const put = (cid, path) => change(path.slice(0, -1), (parent) => files.cp(cid, parent, path.at(-1), SHARDS))
const remove = (path) => change(path.slice(0, -1), (parent) => files.rm(parent, path.at(-1), SHARDS))

// Pins, all of them recursive

const pinKey = (cid) => new Key(`/pin/${base32.encode(cid.multihash.bytes)}`)
const pin = (cid) => datastore.put(pinKey(cid), cid.bytes)

async function pinned () {
  const found = []
  for await (const { value } of datastore.query({ prefix: '/pin/' })) found.push(CID.decode(value))
  return found
}

// kubo's RPC

const json = (...values) => ({ type: 'application/json', body: values.map((each) => JSON.stringify(each) + '\n').join('') })
const nothing = { type: 'text/plain; charset=utf-8', body: '' }
const yes = (value, otherwise) => value === undefined ? otherwise : value === 'true'

function content (path) { // The CID that an argument names.
  try {
    return CID.parse(path.replace(/^\/ipfs\//, ''))
  } catch {
    throw new Failed(`invalid path "${path}": invalid cid`)
  }
}

function place (path) { // ... and the path in MFS.
  if (!path) throw new Failed('paths must not be empty')
  if (!path.startsWith('/')) throw new Failed('paths must start with a leading slash')
  return path.length > 1 ? path.replace(/\/+$/, '') : path
}

const steps = (path) => place(path).split('/').filter(Boolean)
const missing = () => new Failed('file does not exist')

async function lookup (path) { // Its CID; asked by name only, so that what is lost is found, too.
  let cid = await root()
  for (const name of steps(path)) cid = await child(cid, name)
  return cid
}

async function kind (cid) {
  if (cid.code === raw.code) return { Type: 0, Size: (await block(cid)).length, Total: (await block(cid)).length }
  const bytes = await block(cid)
  const node = dagPb.decode(bytes)
  const Total = bytes.length + node.Links.reduce((sum, link) => sum + link.Tsize, 0)
  return isDirectory(node) ? { Type: 1, Size: 0, Total } : { Type: 0, Size: Number(UnixFS.unmarshal(node.Data).fileSize()), Total }
}

async function entry (path, name) {
  const cid = await lookup(path)
  const { Type, Size } = await kind(cid)
  return { Name: name, Type, Size, Hash: cid.toString() }
}

async function sent (request) { // The first file of a form.
  const bytes = await whole(request)
  const form = await new Response(bytes, { headers: request.headers }).formData().catch(() => null)
  const file = [...form?.values() ?? []].find((each) => typeof each !== 'string')
  if (file == null) throw new Failed('file argument \'path\' is required', 400, 1)
  return { name: decodeURIComponent(file.name), bytes: new Uint8Array(await file.arrayBuffer()) }
}

const above = (path) => place(path).slice(0, place(path).lastIndexOf('/')) || '/'
const has = (path) => lookup(path).then(() => true, () => false)

const chunkSize = (text) => {
  if (!/^size-\d+$/.test(text)) throw new Failed(`unrecognized chunker option: ${text}`)
  return Number(text.slice(5))
}

async function collect () {
  const kept = new Set()
  for (const cid of [...await pinned(), await root()]) await walk(cid, kept).catch(() => null) // lost: nothing to keep
  const gone = []
  for await (const { cid } of blockstore.getAll()) if (!kept.has(cid.multihash.bytes.toString())) gone.push(cid)
  for (const cid of gone) await blockstore.delete(cid)
  return gone
}

const commands = {
  version: () => json({ Version: '0.0.0-helia', Commit: '', Repo: '16', System: process.platform, Golang: '' }),
  id: () => json({ ID: PEER, PublicKey: '', Addresses: null, AgentVersion: 'helia', Protocols: null }),

  add: async ({ query, request }) => {
    const { name, bytes } = await sent(request)
    const v1 = query['cid-version'] === '1'
    const cid = await oneByOne(async () => {
      const made = await files.addBytes(bytes, {
        cidVersion: v1 ? 1 : 0,
        rawLeaves: yes(query['raw-leaves'], v1),
        chunker: fixedSize({ chunkSize: chunkSize(query.chunker ?? 'size-262144') }),
        layout: balanced({ maxChildrenPerNode: Number(query['max-file-links'] ?? 174) })
      })
      if (yes(query.pin, true)) await pin(made)
      return made
    })
    return json({ Name: name || cid.toString(), Hash: cid.toString(), Size: String((await kind(cid)).Total) })
  },

  cat: async ({ args: [path] }) => {
    await block(content(path)) // an answer that has begun can tell no error
    return { type: 'text/plain', body: files.cat(content(path)) }
  },

  'block/get': async ({ args: [path] }) => ({ type: 'application/octet-stream', body: await block(content(path)) }),

  'pin/add': ({ args }) => oneByOne(async () => {
    for (const each of args) {
      await walk(content(each), new Set())
      await pin(content(each))
    }
    return json({ Pins: args.map((each) => content(each).toString()) })
  }),
  'pin/rm': ({ args }) => oneByOne(async () => {
    for (const each of args) {
      if (!await datastore.has(pinKey(content(each)))) throw new Failed('not pinned or pinned indirectly')
      await datastore.delete(pinKey(content(each)))
    }
    return json({ Pins: args.map((each) => content(each).toString()) })
  }),
  'pin/ls': async ({ args }) => {
    let found = await pinned()
    for (const each of args) {
      if (!found.some((cid) => cid.equals(content(each)))) throw new Failed(`path '${each}' is not pinned`)
    }
    if (args.length > 0) found = args.map(content)
    return json({ Keys: Object.fromEntries(found.map((cid) => [cid.toString(), { Type: 'recursive', Name: '' }])) })
  },

  'files/mkdir': ({ args: [path], query }) => oneByOne(async () => {
    const parents = yes(query.parents, false)
    if (await has(path)) {
      if (!parents) throw new Failed('file already exists')
      return nothing
    }
    if (!parents) await lookup(above(path))
    await change(steps(path), (made) => made)
    return nothing
  }),
  'files/cp': ({ args: [from, to], query }) => oneByOne(async () => {
    const cid = from.startsWith('/ipfs/') ? content(from) : await lookup(from)
    await block(cid).catch((error) => { throw new Failed(`cp: cannot get node from path ${from}: ${error.message}`) })
    if (!yes(query.parents, false)) await lookup(above(to))
    if (await has(to)) throw new Failed(`cp: cannot put node in path ${to}: directory already has entry by that name`)
    await put(cid, steps(to))
    return nothing
  }),
  'files/ls': async ({ args: [path = '/'], query }) => {
    const cid = await lookup(path)
    const long = yes(query.long, false)
    if ((await kind(cid)).Type === 0) return json({ Entries: [await entry(path, path.split('/').at(-1))] })
    const found = await names(cid)
    const bare = (Name) => ({ Name, Type: 0, Size: 0, Hash: '' })
    const Entries = long ? await Promise.all(found.map((each) => entry(`${place(path)}/${each}`.replace('//', '/'), each))) : found.map(bare)
    return json({ Entries: Entries.length > 0 ? Entries : null }) // Go's empty slice
  },
  'files/stat': async ({ args: [path] }) => {
    const cid = path.startsWith('/ipfs/') ? content(path) : await lookup(path)
    const { Type, Size, Total } = await kind(cid)
    return json({ Hash: cid.toString(), Size, CumulativeSize: Total, Blocks: (await links(cid)).length, Type: Type ? 'directory' : 'file' })
  },
  'files/read': async ({ args: [path] }) => {
    const cid = await lookup(path).catch((error) => { throw new Failed(`${path}: ${error.message}`) })
    if ((await kind(cid)).Type === 1) throw new Failed(`${path} was not a file`)
    return { type: 'text/plain', body: files.cat(cid) }
  },
  'files/rm': ({ args, query }) => oneByOne(async () => {
    const force = yes(query.force, false)
    for (const path of args) {
      if (place(path) === '/') throw new Failed('cannot delete root')
      if (!force) {
        const cid = await lookup(path)
        if ((await kind(cid)).Type === 1 && !yes(query.recursive, false)) throw new Failed('path is a directory, use -r to remove directories')
      }
      if (await has(path)) await remove(steps(path))
    }
    return nothing
  }),

  'routing/put': async ({ args: [key], request }) => {
    const { bytes } = await sent(request)
    await keepRecord(ipnsName(key.replace(/^\/ipns\//, '')), bytes).catch((error) => { throw new Failed(error.message) })
    return json({ Extra: '', ID: PEER, Responses: null, Type: 5 })
  },
  'routing/get': async ({ args: [key] }) => {
    const found = await record(ipnsName(key.replace(/^\/ipns\//, '')))
    if (found == null) throw new Failed('routing: not found')
    return json({ Extra: Buffer.from(found).toString('base64'), ID: '', Responses: null, Type: 5 })
  },

  'repo/gc': () => oneByOne(async () => json(...(await collect()).map((cid) => ({ Key: { '/': cid.toString() } })))),
  'repo/stat': async () => {
    const found = await whole(async function * () { for await (const { cid } of blockstore.getAll()) yield Buffer.from(`${cid}\n`) }())
    return json({ NumObjects: found.toString().split('\n').length - 1, RepoPath: folder, Version: 'fs-repo@16' })
  }
}

async function rpc (request) {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost')
  const command = commands[pathname.replace(/^\/api\/v0\//, '')]
  if (!pathname.startsWith('/api/v0/') || command == null) throw new Failed('404 page not found', 404)
  if (request.method !== 'POST') throw new Failed('405 - Method Not Allowed', 405)
  return { status: 200, ...await command({ args: searchParams.getAll('arg'), query: Object.fromEntries(searchParams), request }) }
}

function rpcError (error) {
  const status = error.status ?? 500
  if (status === 404 || status === 405) return { status, type: 'text/plain; charset=utf-8', body: `${error.message}\n` }
  return { status, ...json({ Message: error.message, Code: Number.isInteger(error.code) ? error.code : 0, Type: 'error' }) }
}

// IPNS records

function ipnsName (text) {
  try {
    return (/^[kb]/.test(text) ? CID.parse(text, base36.decoder.or(base32.decoder)).multihash : Digest.decode(base58btc.baseDecode(text)))
  } catch (error) {
    throw new Failed(`invalid IPNS name: ${error.message}`, 400)
  }
}

const recordKey = (name) => new Key(`/ipns/${base32.encode(name.bytes)}`)
const record = (name) => datastore.get(recordKey(name)).catch(() => null) // there is none

async function keepRecord (name, bytes) { // Unless there is a better one.
  const key = multihashToIPNSRoutingKey(name)
  await ipnsValidator(key, bytes)
  const old = await record(name)
  if (old == null || ipnsSelector(key, [bytes, old]) === 0) await datastore.put(recordKey(name), bytes)
}

// The gateway

const RECORD = 'application/vnd.ipfs.ipns-record'

async function gateway (request) {
  const url = new URL(request.url, 'http://localhost')
  const [, space, text] = url.pathname.split('/')
  if (url.pathname.startsWith('/routing/v1/ipns/')) return routing(request, url.pathname.split('/')[4])
  if (!['GET', 'HEAD'].includes(request.method)) throw new Failed('method not allowed', 405)
  const format = url.searchParams.get('format') ?? /vnd\.ip(?:ld|fs)\.(raw|car|ipns-record)/.exec(request.headers.accept ?? '')?.[1]
  if (space === 'ipns' && format === 'ipns-record') return answerRecord(text)
  if (space !== 'ipfs') throw new Failed('not found', 404)
  let cid
  try {
    cid = CID.parse(text)
  } catch {
    throw new Failed(`invalid cid: ${text}`, 400)
  }
  if (!await blockstore.has(cid)) throw new Failed(`block was not found locally (offline): ipld: could not find ${cid}`, 404)
  const answer = { status: 200, headers: { etag: `"${cid}.${format ?? 'file'}"`, 'x-content-type-options': 'nosniff' } }
  if (format === 'raw') return { ...answer, type: 'application/vnd.ipld.raw', body: await block(cid) }
  if (format === 'car') return { ...answer, type: 'application/vnd.ipld.car; version=1; order=dfs; dups=n', body: cars.export(cid) }
  return { ...answer, type: 'application/octet-stream', body: files.cat(cid) }
}

async function routing (request, text) {
  const name = ipnsName(text)
  if (request.method === 'GET') return answerRecord(text)
  if (request.method !== 'PUT') throw new Failed('method not allowed', 405)
  if (request.headers['content-type'] !== RECORD) throw new Failed(`content-type is not ${RECORD}`, 406)
  await keepRecord(name, await whole(request)).catch((error) => { throw new Failed(error.message, 400) })
  return { status: 200, type: 'text/plain', body: '' }
}

async function answerRecord (text) {
  const found = await record(ipnsName(text))
  if (found == null) throw new Failed('routing: not found', 404)
  return { status: 200, type: RECORD, body: Buffer.from(found) }
}

const gatewayError = (error) => ({ status: error.status ?? 500, type: 'text/plain; charset=utf-8', body: `${error.message}\n` })

// Both ports

async function send (response, request, { status, type, body, headers }) {
  response.writeHead(status, { 'content-type': type, ...headers })
  if (request.method === 'HEAD') return response.end()
  if (typeof body === 'string' || Buffer.isBuffer(body)) return response.end(body)
  for await (const part of body) {
    if (!response.write(part)) await new Promise((resolve) => { response.once('drain', resolve).once('close', resolve) })
  }
  response.end()
}

function listen (handle, complain, wanted) {
  const server = http.createServer(async (request, response) => {
    const answer = await handle(request).catch(complain)
    await send(response, request, answer).catch(() => response.destroy()) // a short answer must not look whole
  })
  return new Promise((resolve) => server.listen(Number(wanted), '127.0.0.1', () => resolve(`http://127.0.0.1:${server.address().port}`)))
}

console.log(JSON.stringify({
  rpc: await listen(rpc, rpcError, port),
  gateway: await listen(gateway, gatewayError, gatewayPort)
}))
process.stdin.resume().on('close', () => process.exit()) // ends with whoever started it
process.on('unhandledRejection', () => {}) // of Helia's walk of a tree, once a lost block has broken the answer off
