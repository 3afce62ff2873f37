// Prints what Akash's own SDK says of SDL files, as one JSON object: for each FILE its errors, and the names of the
// services in the manifest that it makes.
import { readFileSync } from 'node:fs'
import { generateManifest, validateSDL, yaml } from '@akashnetwork/chain-sdk'

const said = {}
for (const file of process.argv.slice(2)) {
  const sdl = yaml([readFileSync(file, 'utf8')])
  const errors = (validateSDL(sdl, 'mainnet') ?? []).map((error) => `${error.instancePath || '/'} ${error.message}`)
  const manifest = errors.length ? { ok: false } : generateManifest(sdl, 'mainnet')
  const groups = manifest.ok ? (manifest.value.groups ?? manifest.value) : []
  said[file] = { errors, services: groups.flatMap((group) => group.services.map((service) => service.name)) }
}
console.log(JSON.stringify(said))
