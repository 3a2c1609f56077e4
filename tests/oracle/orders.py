"""Orders from grpc-core, set up by nothing but the files of k8s/clients.

Prints `calling` when the first order is placed, goes on until its standard input ends, and answers with one JSON object.
Every order has a key of its own, is asked for once, and retried by the library alone.
"""

import argparse
import asyncio
import collections
import json
import pathlib
import sys

import grpc

PLACE_ORDER = "/order.v1.OrderService/PlaceOrder"
DEADLINE_S = 30
CHANNELS = 8
CALLERS = 4


def channel_to(target, clients):
    arguments = json.loads((clients / "channel-arguments.json").read_text())
    arguments["grpc.service_config"] = (clients / "service-config.json").read_text()
    # Connections of its own for each channel, as if each were another process.
    arguments["grpc.use_local_subchannel_pool"] = 1
    return grpc.aio.insecure_channel(target, list(arguments.items()))


def order(key):
    """account_id 1, the key, amount "1": bytes, so that no generated code is needed."""
    return b"\x08\x01\x12" + bytes([len(key)]) + key.encode() + b"\x1a\x011"


async def call_until(stop, place, caller, outcomes):
    number = 0
    while not stop.is_set():
        number += 1
        try:
            await place(order(f"core-{caller}-{number}"), timeout=DEADLINE_S)
            outcomes["OK"] += 1
            if outcomes["OK"] == 1:
                print("calling", flush=True)
        except grpc.aio.AioRpcError as error:
            outcomes[f"{error.code().name}: {error.details()}"] += 1


async def end_of_input():
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    await reader.read()


async def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("target", help="ADDRESS:PORT")
    arguments.add_argument("clients", type=pathlib.Path, help="k8s/clients")
    arguments = arguments.parse_args()
    outcomes, stop = collections.Counter(), asyncio.Event()
    channels = [channel_to(arguments.target, arguments.clients) for _ in range(CHANNELS)]
    callers = [
        call_until(stop, channels[caller % CHANNELS].unary_unary(PLACE_ORDER), caller, outcomes)
        for caller in range(CHANNELS * CALLERS)
    ]
    calling = asyncio.gather(*callers)
    await end_of_input()
    stop.set()
    await calling
    answered = outcomes.pop("OK", 0)
    print(json.dumps({"answered": answered, "failed": outcomes}))


asyncio.run(main())
