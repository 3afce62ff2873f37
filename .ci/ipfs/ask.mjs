// Answers what IPFS's own libraries say to a list of questions, JSON on stdin and stdout; bytes are in hex.
import { readFile } from 'node:fs/promises'
import { generateKeyPairFromSeed, publicKeyFromProtobuf } from '@libp2p/crypto/keys'
import { createFileEncoderStream } from 'ipfs-car'
import { importer } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'
import { createIPNSRecordWithExpiration, marshalIPNSRecord, unmarshalIPNSRecord } from 'ipns'
import { validate } from 'ipns/validator'
import { base32 } from 'multiformats/bases/base32'
import { base36 } from 'multiformats/bases/base36'
import { base58btc } from 'multiformats/bases/base58'
import { CID } from 'multiformats/cid'

const hex = (bytes) => Buffer.from(bytes).toString('hex')
const bytes = (text) => Uint8Array.from(Buffer.from(text, 'hex'))
const nowhere = { put: async (cid) => cid }

async function imported (content, options) {
  for await (const entry of importer([{ content }], nowhere, options)) return entry.cid.toString()
}

const answers = {
  // A file's CID by one of the published profiles.
  profile: async ({ file, profile }) => imported(await readFile(file), { profile }),

  // ... and by any size of chunks and width of nodes.
  tree: ({ data, version, chunk, width, raw }) => imported(bytes(data), {
    cidVersion: version, rawLeaves: raw, chunker: fixedSize({ chunkSize: chunk }), layout: balanced({ maxChildrenPerNode: width }), reduceSingleLeafToSelf: true
  }),

  // What ipfs-car calls the root.
  car: async ({ file }) => {
    let last
    await createFileEncoderStream(new Blob([await readFile(file)])).pipeTo(new WritableStream({ write (block) { last = block } }))
    return last.cid.toString()
  },

  cid: ({ text }) => {
    const cid = CID.parse(text, { b: base32, k: base36, z: base58btc }[text[0]])
    const forms = cid.version === 0 ? [cid.toString()] : [base32, base36, base58btc].map((base) => cid.toString(base))
    return { version: cid.version, codec: cid.code, hash: hex(cid.multihash.bytes), binary: hex(cid.bytes), forms }
  },

  name: async ({ seed }) => {
    const { publicKey } = await generateKeyPairFromSeed('Ed25519', bytes(seed))
    return { cid: publicKey.toCID().toString(base36), peer: base58btc.encode(publicKey.toMultihash().bytes).slice(1) }
  },

  sign: async ({ seed, value, sequence, until, ttl, both }) => {
    const key = await generateKeyPairFromSeed('Ed25519', bytes(seed))
    const options = { ttlNs: BigInt(ttl), v1Compatible: both }
    return hex(marshalIPNSRecord(await createIPNSRecordWithExpiration(key, value, BigInt(sequence), until, options)))
  },

  // Throws what js-ipns throws; it looks at the clock, too.
  verify: async ({ key, record }) => {
    await validate(publicKeyFromProtobuf(bytes(key)), bytes(record))
    const { value, sequence, validity, ttl } = unmarshalIPNSRecord(bytes(record))
    return { value, sequence: `${sequence}`, until: validity, ttl: `${ttl}` }
  }
}

let asked = ''
for await (const piece of process.stdin) asked += piece
const said = []
for (const { ask, ...about } of JSON.parse(asked)) {
  try {
    said.push({ answer: await answers[ask](about) })
  } catch (error) {
    said.push({ error: `${error.name}: ${error.message}` })
  }
}
console.log(JSON.stringify(said))
