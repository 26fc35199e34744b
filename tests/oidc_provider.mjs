// An OpenID provider that nobody here wrote: npm's oidc-provider, with its own pages for signing in, where any password is right.
// node oidc_provider.mjs <oidc-provider's folder> <port> <client id> <secret, or -> <algorithm> <redirect URI> <seconds>
// With <seconds> above 0 each sign-in is already that old when the provider looks at it, and it asks again whenever max_age finds it too old.

import { generateKeyPairSync } from "node:crypto";
import { pathToFileURL } from "node:url";

const [folder, port, client_id, secret, algorithm, back, age] = process.argv.slice(2);
const { default: Provider, interactionPolicy } = await import(pathToFileURL(`${folder}/lib/index.js`));

const KINDS = { RS256: ["rsa", { modulusLength: 2048 }], ES256: ["ec", { namedCurve: "P-256" }], EdDSA: ["ed25519", {}] };
const key = (alg) => ({ ...generateKeyPairSync(...KINDS[alg]).privateKey.export({ format: "jwk" }), alg, use: "sig", kid: alg });

const policy = interactionPolicy.base();
let maxAge;  // of the request that came last: the library makes prompt=login of max_age=0, where other providers compare it again
if (Number(age)) {
  const tooOld = ({ oidc: { session } }) => Boolean(maxAge !== undefined && session.accountId && session.past(maxAge));
  policy.get("login").checks.add(new interactionPolicy.Check("too_old", "the sign-in is too old", tooOld));
}

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id, redirect_uris: [back], id_token_signed_response_alg: algorithm, grant_types: ["authorization_code"], response_types: ["code"],
    ...(secret === "-" ? { token_endpoint_auth_method: "none" } : { client_secret: secret, token_endpoint_auth_method: "client_secret_basic" }),
  }],
  jwks: { keys: Object.keys(KINDS).map(key) },
  enabledJWA: { idTokenSigningAlgValues: Object.keys(KINDS) },
  pkce: { required: () => true },
  cookies: { keys: ["of a test"] },
  interactions: { policy },
  findAccount: async (_, sub) => ({ accountId: sub, claims: async () => ({ sub, email: `${sub}@centre.example` }) }),
});
const { loginAccount } = provider.Session.prototype;
provider.Session.prototype.loginAccount = function older(details) {
  loginAccount.call(this, { ...details, loginTs: (details.loginTs ?? Math.floor(Date.now() / 1000)) - Number(age) });
};
provider.use(async (ctx, next) => {
  if (ctx.path === "/auth") maxAge = ctx.query.max_age;
  await next();
});
provider.listen(Number(port), "127.0.0.1");
