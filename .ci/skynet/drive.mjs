// Does with a Skynet portal what a list of orders says, by Skynet's own SDK; JSON on stdin and stdout, bytes are in hex.
import skynet from '@skynetlabs/skynet-nodejs'

const { SkynetClient, genKeyPairFromSeed, getEntryLink } = skynet
const hex = (bytes) => Buffer.from(bytes).toString('hex')
const bytes = (text) => Uint8Array.from(Buffer.from(text, 'hex'))
const hashed = { hashedDataKeyHex: true }
const bare = (skylink) => skylink.replace('sia://', '')

const orders = {
  upload: async (client, { data, name }) => bare(await client.uploadData(Buffer.from(data, 'hex'), name)),

  download: async (client, { skylink }) => hex(await client.downloadData(skylink)),

  // Throws unless a chain of signed entries leads from a resolver skylink to what came.
  resolve: async (client, { skylink }) => {
    const { data, skylink: leadsTo } = await client.getFileContentBinary(skylink)
    return { data: hex(data), skylink: bare(leadsTo) }
  },

  metadata: async (client, { skylink }) => (await client.getMetadata(skylink)).metadata,

  // SkyDB: a JSON file, uploaded, and an entry that leads to it.
  setJSON: async (client, { phrase, name, value }) => {
    const { dataLink } = await client.dbV2.setJSON(genKeyPairFromSeed(phrase).privateKey, name, value)
    return bare(dataLink)
  },

  getJSON: async (client, { phrase, name }) => (await client.dbV2.getJSON(genKeyPairFromSeed(phrase).publicKey, name)).data,

  publicKey: (client, { phrase }) => genKeyPairFromSeed(phrase).publicKey,

  // The data key is already a hash.
  setEntry: async (client, { phrase, key, data, revision }) => {
    const entry = { dataKey: key, data: bytes(data), revision: BigInt(revision) }
    await client.registry.setEntry(genKeyPairFromSeed(phrase).privateKey, entry, hashed)
  },

  // Throws unless its signature holds.
  getEntry: async (client, { publicKey, key }) => {
    const { entry } = await client.registry.getEntry(publicKey, key, hashed)
    return entry && { data: hex(entry.data), revision: `${entry.revision}` }
  },

  entryLink: (client, { publicKey, key }) => bare(getEntryLink(publicKey, key, hashed))
}

let asked = ''
for await (const piece of process.stdin) asked += piece
const { portal, key, todo } = JSON.parse(asked)
const client = new SkynetClient(portal, key ? { skynetApiKey: key } : {})
const said = []
for (const { order, ...about } of todo) {
  try {
    said.push({ answer: (await orders[order](client, about)) ?? null })
  } catch (error) {
    said.push({ error: `${error.name}: ${error.message}` })
  }
}
console.log(JSON.stringify(said))
