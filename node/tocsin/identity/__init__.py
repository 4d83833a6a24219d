"""This package knows who says something, and how that is proved.

| module | what it knows |
|---|---|
| `names` | what organisations, records, keys and endpoints are called |
| `admission` | which public keys may be trusted with anything |
| `keys` | key pairs, key files, JWKs and thumbprints |
| `signer` | one private key that signs, wherever it lives |
| `uri` | where a key lies: in a file, or in a token |
| `token` | keys in tokens (PKCS#11) |
| `certificate` | TLS certificates of nodes, and their pins |
| `vkey` | verifier keys of logs and witnesses |
| `details` | what an organisation says of itself |
| `version` | one signed version of that |
| `changes` | in words, what a version changes of the one before |
| `fingerprint` | what two people compare |
| `root` | the chain of versions: `Organisation`, `parse_identity`, `update_identity` |
| `draft` | the next version, while people sign it one after another |
"""
