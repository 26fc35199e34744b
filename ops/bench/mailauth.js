// Verifies the DKIM signatures of mails with mailauth: node mailauth.js LIBRARY DNS.json MAIL...
// DNS.json holds TXT records by name. One JSON object a mail on standard output.
"use strict";
const fs = require("fs");
const [library, dns, ...mails] = process.argv.slice(2);
const { dkimVerify } = require(library + "/lib/dkim/verify");
const records = JSON.parse(fs.readFileSync(dns, "utf8"));

async function resolver(name, type) {
  if (type !== "TXT" || !(name in records)) {
    throw Object.assign(new Error("no such name"), { code: "ENOTFOUND" });
  }
  return [[records[name]]];
}

async function main() {
  for (const mail of mails) {
    const found = await dkimVerify(fs.readFileSync(mail), { resolver });
    const results = found.results.map((one) => ({
      domain: one.signingDomain,
      selector: one.selector,
      algorithm: one.algo,
      result: one.status.result,
      aligned: one.status.aligned || null,
      headers: one.signingHeaders && one.signingHeaders.keys,
    }));
    console.log(JSON.stringify({ mail, results }));
  }
}

main();
