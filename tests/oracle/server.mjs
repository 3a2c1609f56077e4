// The oracle's service on grpc-js. Prints its port; SIGTERM drains it.
// Arguments: the directory that the packages are installed in, the path of oracle.proto.

import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';

const [modules, proto] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const { oracle } = grpc.loadPackageDefinition(loader.loadSync(proto, { keepCase: true }));
const DRAIN_MS = 5_000;

function echoes(call, prefix = '') {
  const found = new grpc.Metadata();
  for (const key of Object.keys(call.metadata.getMap())) {
    if (key.startsWith('echo-')) call.metadata.get(key).forEach((value) => found.add(prefix + key, value));
  }
  return found;
}

/** Trailers for whatever happens; turns early attempts away; does the work. */
async function begin(say, call) {
  const previous = Number(call.metadata.get('grpc-previous-rpc-attempts')[0] ?? 0);
  const trailers = echoes(call, 'trailing-');
  const deadline = Number(call.getDeadline());
  trailers.set('seen-previous-attempts', String(previous));
  trailers.set('seen-timeout-ms', isFinite(deadline) ? String(Math.floor(deadline - Date.now())) : 'none');
  if (previous < say.fail_first) {
    trailers.set('grpc-retry-pushback-ms', String(say.pushback_ms));
    const details = `attempt ${previous} is turned away`;
    throw { code: grpc.status.UNAVAILABLE, details, metadata: trailers };
  }
  await sleep(say.work_ms);
  return trailers;
}

function finish(say, trailers) {
  if (say.status) throw { code: say.status, details: say.message, metadata: trailers };
}

const service = {
  async Unary(call, answer) {
    try {
      const trailers = await begin(call.request, call);
      finish(call.request, trailers);
      call.sendMetadata(echoes(call));
      answer(null, { payload: call.request.payload }, trailers);
    } catch (error) {
      answer(error);
    }
  },

  async Collect(call, answer) {
    try {
      let [first, answers, total_bytes] = [null, 0, 0];
      for await (const say of call) {
        first ??= say;
        answers += 1;
        total_bytes += say.payload.length;
      }
      first ??= { fail_first: 0, work_ms: 0, status: 0 };
      const trailers = await begin(first, call);
      finish(first, trailers);
      answer(null, { answers, total_bytes }, trailers);
    } catch (error) {
      answer(error);
    }
  },

  async Repeat(call) {
    try {
      const say = call.request;
      const trailers = await begin(say, call);
      for (let sent = 0; sent < say.answers; sent += 1) {
        if (!call.write({ payload: say.payload })) await new Promise((go) => call.once('drain', go));
        await sleep(say.pause_ms);
      }
      finish(say, trailers);
      call.end(trailers);
    } catch (error) {
      call.emit('error', error);
    }
  },

  async Chat(call) {
    try {
      call.sendMetadata(echoes(call));
      // Without this the end of what comes in would destroy the stream, what goes out included.
      for await (const say of call.iterator({ destroyOnReturn: false })) {
        if (!call.write({ payload: say.payload })) await new Promise((go) => call.once('drain', go));
        finish(say, new grpc.Metadata());
      }
      call.end();
    } catch (error) {
      call.emit('error', error);
    }
  },
};

const server = new grpc.Server();
server.addService(oracle.Oracle.service, service);
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(port);
});
process.on('SIGTERM', () => {
  server.tryShutdown(() => process.exit(0));
  setTimeout(() => process.exit(1), DRAIN_MS).unref();
});
