// Refuses every connection of this process that is not to this machine.
import net from "node:net";
import dns from "node:dns";

const local = (host) => host === undefined || host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
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
  api.lookup = (host, ...rest) => (local(host) ? lookup.call(api, host, ...rest) : refuse(host));
}
