"""The addresses that bytes have on IPFS, Skynet and IPNS, computed from the bytes alone: pure functions, no network.

`unixfs` makes the CID of a file and `cid` reads one; `skyfile` makes a skylink and `skylink` reads one; `ipns` and
`registry` are the signed pointers of the two networks. The rest is what these are written in.
"""
