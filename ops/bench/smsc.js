// An SMS centre built on the third-party node-smpp: the peer of tests/contract/test_smpp_node.py and ops/bench/sms.
//   node smsc.js FOLDER_OF_SMPP [CERTIFICATE KEY]
// Prints {"port": ...}, then each received message as one line of JSON, unless QUIET is set. The number decides the answer:
// 3461… is throttled, like everything beyond PARTS_PER_S in a second, if that is set;
// 3462… is not delivered; 3463… answers STOP; 3464… also answers STOP, all by data_sm. Answers give message ids in hex, receipts in decimal.
"use strict";
const fs = require("fs");
const [folder, certificate, key] = process.argv.slice(2);
const smpp = require(folder);

const quiet = Boolean(process.env.QUIET);
const options = certificate ? { cert: fs.readFileSync(certificate), key: fs.readFileSync(key) } : {};
const takers = new Set();
let serial = 0xa000;
const limit = Number(process.env.PARTS_PER_S || 0);
let accepted = [];

function tell(what) {
  if (!quiet) process.stdout.write(JSON.stringify(what) + "\n");
}

function receipt(to, id, word) {
  const report = `id:${String(id).padStart(10, "0")} sub:001 dlvrd:001 submit date:2611240940 done date:2611240941 stat:${word} err:000 text:`;
  return { esm_class: smpp.ESM_CLASS.MC_DELIVERY_RECEIPT, source_addr: to, destination_addr: "12345", text: report };
}

/** Sends the PDU by either of the two operations of the standard. */
function bring(taker, { text, ...fields }, to) {
  if (to.startsWith("3464")) taker.data_sm({ ...fields, message_payload: text });
  else taker.deliver_sm({ ...fields, short_message: text });
}

/** Whether the limit of this second is reached; otherwise counts one more part. */
function full() {
  accepted = accepted.filter((at) => at > Date.now() - 1000);
  if (limit && accepted.length >= limit) return true;
  if (limit) accepted.push(Date.now());
  return false;
}

function submitted(session, pdu) {
  const to = pdu.destination_addr;
  if (to.startsWith("3461") || full()) return session.send(pdu.response({ command_status: smpp.ESME_RTHROTTLED }));
  const id = serial++;
  const text = pdu.short_message.message || (pdu.message_payload || {}).message;
  tell({ to, id, text: String(text), udh: pdu.short_message.udh ? [...pdu.short_message.udh[0]] : null,
         valid: pdu.validity_period, coding: pdu.data_coding, from: pdu.source_addr, ton: pdu.source_addr_ton });
  session.send(pdu.response({ message_id: id.toString(16) }));
  const taker = takers.has(session) ? session : takers.values().next().value;
  if (!taker) return;
  bring(taker, receipt(to, id, to.startsWith("3462") ? "UNDELIV" : "DELIVRD"), to);
  if (/^346[34]/.test(to)) bring(taker, { source_addr: to, source_addr_ton: 1, destination_addr: "12345", text: "Stop" }, to);
}

function bound(session, pdu, takes) {
  const known = pdu.system_id === "sandbox" && pdu.password === "sandbox";
  session.send(pdu.response(known ? { system_id: "node" } : { command_status: smpp.ESME_RINVPASWD }));
  if (known && takes) takers.add(session);
}

const server = smpp.createServer(options, (session) => {
  session.on("bind_transceiver", (pdu) => bound(session, pdu, true));
  session.on("bind_receiver", (pdu) => bound(session, pdu, true));
  session.on("bind_transmitter", (pdu) => bound(session, pdu, false));
  session.on("submit_sm", (pdu) => submitted(session, pdu));
  session.on("data_sm_resp", (pdu) => tell({ acknowledged: pdu.command_status === 0 }));
  session.on("enquire_link", (pdu) => { tell({ enquired: true }); session.send(pdu.response()); });
  session.on("unbind", (pdu) => { tell({ unbound: true }); session.send(pdu.response()); session.close(); });
  session.on("close", () => takers.delete(session));
  session.on("error", (error) => { tell({ error: error.code || "unreadable" }); session.close(); });
});
server.listen(0, "127.0.0.1", () => process.stdout.write(JSON.stringify({ port: server.address().port }) + "\n"));
