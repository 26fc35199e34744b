// An OpenID provider that nobody here wrote: npm's oidc-provider, with its own pages for signing in, where any password is right.
// node oidc_provider.mjs <oidc-provider's folder> <port> <client id> <secret, or -> <algorithm> <redirect URI>

import { generateKeyPairSync } from "node:crypto";
import { pathToFileURL } from "node:url";

const [folder, port, client_id, secret, algorithm, back] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(`${folder}/lib/index.js`));

const KINDS = { RS256: ["rsa", { modulusLength: 2048 }], ES256: ["ec", { namedCurve: "P-256" }], EdDSA: ["ed25519", {}] };
const key = (alg) => ({ ...generateKeyPairSync(...KINDS[alg]).privateKey.export({ format: "jwk" }), alg, use: "sig", kid: alg });

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id, redirect_uris: [back], id_token_signed_response_alg: algorithm, grant_types: ["authorization_code"], response_types: ["code"],
    ...(secret === "-" ? { token_endpoint_auth_method: "none" } : { client_secret: secret, token_endpoint_auth_method: "client_secret_basic" }),
  }],
  jwks: { keys: Object.keys(KINDS).map(key) },
  enabledJWA: { idTokenSigningAlgValues: Object.keys(KINDS) },
  pkce: { required: () => true },
  cookies: { keys: ["of a test"] },
  findAccount: async (_, sub) => ({ accountId: sub, claims: async () => ({ sub, email: `${sub}@centre.example` }) }),
});
provider.listen(Number(port), "127.0.0.1");
