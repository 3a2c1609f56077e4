"""grpc-core's client in the scenarios: steady callers until standard input ends, then one line of JSON."""

import argparse
import asyncio
import collections
import itertools
import json
import sys
import time

import grpc
import grpc.aio

PROTOS = grpc.protos("scenario.proto")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", required=True)
    parser.add_argument("--method", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--callers", type=int, required=True)
    parser.add_argument("--work-ms", type=int, required=True)
    parser.add_argument("--timeout-s", type=float, required=True)
    return parser.parse_args()


def options(config):
    # grpc-core's default would keep to one server.
    config = json.loads(config) | {"loadBalancingConfig": [{"round_robin": {}}]}
    return [
        ("grpc.service_config", json.dumps(config)),
        # A list of addresses would become the authority, whose commas HTTP/2 libraries refuse.
        ("grpc.default_authority", "scenario"),
        # As our channel and tonic's have it in the scenarios.
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
    ]


class Tally:
    def __init__(self):
        self.codes = collections.Counter()
        self.latencies_us = []

    def report(self):
        failed = sum(self.codes.values())
        return {
            "calls": len(self.latencies_us),
            "failed": failed,
            "codes": self.codes,
            "latencies_us": self.latencies_us,
        }


async def call_on(method, args, ids, stop, tally):
    while not stop.is_set():
        ping = PROTOS.PingMessage(id=next(ids), work_ms=args.work_ms)
        began = time.monotonic()
        try:
            await method(ping, timeout=args.timeout_s)
            failed = False
        except grpc.aio.AioRpcError as error:
            tally.codes[error.code().value[0]] += 1
            failed = True
        tally.latencies_us.append(int((time.monotonic() - began) * 1e6))
        if failed:
            # As the scenarios' other callers: one that fails at once must not drown the others.
            await asyncio.sleep(0.01)


async def until_input_ends(stop):
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    stop.set()


async def main():
    args = arguments()
    target = "ipv4:" + args.servers
    async with grpc.aio.insecure_channel(target, options=options(args.config)) as channel:
        method = channel.unary_unary(
            args.method,
            request_serializer=PROTOS.PingMessage.SerializeToString,
            response_deserializer=PROTOS.PingMessage.FromString,
        )
        await channel.channel_ready()
        print("ready", flush=True)
        stop, tally, ids = asyncio.Event(), Tally(), itertools.count(1)
        callers = (call_on(method, args, ids, stop, tally) for _ in range(args.callers))
        await asyncio.gather(until_input_ends(stop), *callers)
    print(json.dumps(tally.report()), flush=True)


asyncio.run(main())
