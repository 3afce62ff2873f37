"""IPFS: nodes that keep objects for us, by kubo's RPC; gateways that give blocks to anybody; and IPNS names."""
