// Takes part with an unmodified NATS client as whatever user runs it, and prints a line of JSON for each attempt:
// {"attempt", "outcome"}, where the outcome is "ok", with what came, or the error. The URL of the bus is an argument, or
// the path of its socket; then come the notifier's own name and another's.
import net from "node:net";
import { connect } from "@nats-io/transport-node";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";

const [address, mine, others] = process.argv.slice(2);
const inTime = { timeout: 2000 };

// overSocket leads a port of this process's own to a Unix socket, for a client that knows none. Only this process uses it.
async function overSocket(path) {
  const server = net.createServer((from) => {
    const to = net.connect(path);
    from.on("error", () => to.destroy()).pipe(to).on("error", () => from.destroy()).pipe(from);
  });
  server.unref();
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return `127.0.0.1:${server.address().port}`;
}

const nc = await connect({ servers: address.startsWith("/") ? await overSocket(address) : address, reconnect: false });
const violations = [];
(async () => {
  for await (const status of nc.status()) {
    if (status.type === "error") violations.push(String(status.error.message));
  }
})();

async function attempt(name, f) {
  let outcome;
  violations.length = 0;
  try {
    const came = await f();
    await nc.flush(); // a violation came before the answer to this,
    await new Promise(setImmediate); // and has been told by now
    outcome = violations.length > 0 ? `error: ${violations.join("; ")}` : `ok: ${came ?? ""}`;
  } catch (error) {
    outcome = `error: ${error.message} ${error.cause?.message ?? ""} ${violations.join("; ")}`;
  }
  console.log(JSON.stringify({ attempt: name, outcome }));
}

// ask sends a request to the daemon in JSON, and takes a refusal for an error.
async function ask(subject, body = {}) {
  const { headers } = await import("@nats-io/transport-node");
  const h = headers();
  h.set("Content-Type", "application/json");
  const m = await nc.request(subject, JSON.stringify(body), { ...inTime, headers: h });
  const code = m.headers?.get("Nats-Service-Error-Code");
  if (code) throw new Error(`${code} ${m.string()}`);
  return m.string();
}

for (const name of [mine, others]) {
  const whose = name === mine ? "my" : "another's";
  await attempt(`listen as ${whose} notifier`, async () => {
    nc.subscribe(`sys.notify.${name}`, { callback: (error, m) => { if (!error) m.respond('{"answer":"accept"}'); } });
  });
  await attempt(`register as ${whose} notifier`, () => ask(`sys.api.notifier.register.${name}`, { format: "json" }));
  await attempt(`resume as ${whose} notifier`, () => ask(`sys.api.state.resume.${name}`));
}
await attempt("hear the state", async () => { nc.subscribe("sys.state.>", { callback() {} }); });
await attempt("forge a state event", async () => { nc.publish("sys.state.DHCP", "{}"); });
await attempt("answer for the daemon", async () => { nc.subscribe("sys.api.state.get", { callback: (error, m) => { if (!error) m.respond("{}"); } }); });
await attempt("hear everything", async () => { nc.subscribe(">", { callback() {} }); });
await attempt("hear other inboxes", async () => {
  let heard = 0;
  nc.subscribe("_INBOX.>", { callback: () => { heard++; } });
  console.log(JSON.stringify({ ready: true })); // others answer each other now
  await new Promise((go) => process.stdin.once("data", go));
  process.stdin.pause();
  return `${heard} heard`;
});
await attempt("read a blob by the endpoint", () => ask("sys.api.blob.get.device-serial.0"));
await attempt("read a secret by the endpoint", () => ask("sys.api.blob.get.auth.0"));

const kv = await new Kvm(jetstream(nc, inTime)).open("SYS_BLOBS", { allow_direct: true, bindOnly: true });
const read = async (key) => (await kv.get(key))?.string() ?? (() => { throw new Error("nothing"); })();
await attempt("read a blob by key-value", () => read("device-serial.0"));
await attempt("read a secret by key-value", () => read("auth.0"));
const api = (subject, body) => nc.request(subject, JSON.stringify(body), inTime).then((m) => {
  if (m.headers?.hasError || m.string().includes('"error"')) throw new Error(m.string() || String(m.headers.code));
  return m.string();
});
const secret = "$KV.SYS_BLOBS.auth.0";
await attempt("read a secret by the stream's API", () => api("$JS.API.STREAM.MSG.GET.KV_SYS_BLOBS", { last_by_subj: secret }));
await attempt("read a secret by direct get", () => api(`$JS.API.DIRECT.GET.KV_SYS_BLOBS.${secret}`, {}));
await attempt("read a secret by direct get of a pattern", () => api("$JS.API.DIRECT.GET.KV_SYS_BLOBS.$KV.SYS_BLOBS.*.0", {}));
await attempt("read a secret by its number", () => api("$JS.API.DIRECT.GET.KV_SYS_BLOBS", { seq: 1 }));
await attempt("read a secret by a consumer", async () => {
  const jsm = await jetstreamManager(nc, { ...inTime, checkAPI: false });
  return JSON.stringify(await jsm.consumers.add("KV_SYS_BLOBS", { filter_subject: secret, ack_policy: "none" }));
});
await attempt("write a blob by key-value", async () => { nc.publish("$KV.SYS_BLOBS.device-serial.0", "forged"); });
await nc.close();
