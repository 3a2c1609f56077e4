// Orders from grpc-js, set up by nothing but the files of k8s/clients, and waitForReady, which grpc-js reads from the
// metadata of a call and not from a service config. Says and answers what orders.py does.
// Arguments: ADDRESS:PORT, k8s/clients, the directory that the packages are installed in.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const [target, clients, modules] = process.argv.slice(2);
const grpc = createRequire(`${modules}/`)('@grpc/grpc-js');

const PLACE_ORDER = '/order.v1.OrderService/PlaceOrder';
const DEADLINE_MS = 30_000;
const CHANNELS = 8;
const CALLERS = 4;

const options = {
  ...JSON.parse(readFileSync(`${clients}/channel-arguments.json`, 'utf8')),
  'grpc.service_config': readFileSync(`${clients}/service-config.json`, 'utf8'),
  // Connections of its own for each channel, as if each were another process.
  'grpc.use_local_subchannel_pool': 1,
};

/** account_id 1, the key, amount "1": bytes, so that no generated code is needed. */
function order(key) {
  return Buffer.concat([Buffer.from([0x08, 1, 0x12, key.length]), Buffer.from(key), Buffer.from([0x1a, 1, 0x31])]);
}

function place(client, key) {
  const metadata = new grpc.Metadata({ waitForReady: true });
  const same = (bytes) => bytes;
  const deadline = { deadline: Date.now() + DEADLINE_MS };
  return new Promise((resolve) => {
    client.makeUnaryRequest(PLACE_ORDER, same, same, order(key), metadata, deadline, resolve);
  });
}

let stop = false;
let answered = 0;
const failed = {};

async function callUntilStopped(client, caller) {
  for (let number = 1; !stop; number += 1) {
    const error = await place(client, `js-${caller}-${number}`);
    if (error) {
      const what = `${grpc.status[error.code]}: ${error.details}`;
      failed[what] = (failed[what] ?? 0) + 1;
    } else if ((answered += 1) === 1) {
      console.log('calling');
    }
  }
}

process.stdin.resume().on('end', () => (stop = true));
const credentials = grpc.credentials.createInsecure();
const channels = Array.from({ length: CHANNELS }, () => new grpc.Client(target, credentials, options));
const callers = Array.from({ length: CHANNELS * CALLERS }, (_, caller) =>
  callUntilStopped(channels[caller % CHANNELS], caller));
await Promise.all(callers);
channels.forEach((channel) => channel.close());
console.log(JSON.stringify({ answered, failed }));
