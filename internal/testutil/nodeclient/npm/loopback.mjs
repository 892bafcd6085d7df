// Refuses every connection of this process that is not to this machine, which
// every name under localhost is.
import net from "node:net";
import dns from "node:dns";

const named = (host) => host.endsWith(".localhost"); // not every resolver knows these
const local = (host) => host === undefined || host === "localhost" || named(host) || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
const refuse = (host) => {
  process.stderr.write(`refused: a connection to ${host}\n`);
  process.exit(3);
};

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  const first = Array.isArray(args[0]) ? args[0][0] : args[0];
  const host = typeof first === "object" && first !== null ? first.host : typeof args[1] === "string" ? args[1] : undefined;
  if (!local(host)) refuse(host);
  return connect.apply(this, args);
};
for (const api of [dns, dns.promises]) {
  const lookup = api.lookup;
  api.lookup = (host, ...rest) => (local(host) ? lookup.call(api, named(host) ? "127.0.0.1" : host, ...rest) : refuse(host));
}
