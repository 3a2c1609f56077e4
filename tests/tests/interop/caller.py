"""A grpc-core client with many calls in flight, until its standard input ends.

Balances over all targets and leaves a server that says NOT_SERVING, as a service config tells every
grpc-core client to. Retries nothing, not even what would be safe: a call that fails is a call that
failed. Prints `calling` when the account it asks for is open, and one JSON object at the end.
"""

import argparse
import asyncio
import collections
import json
import sys

import grpc

SERVICE = "/account.v1.AccountService/"
# Messages as bytes, so that no generated code is needed: account_id 1, opening_balance "1".
OPEN_ACCOUNT = b"\x08\x01\x1a\x011"
GET_ACCOUNT = b"\x08\x01"
SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": "account.v1.AccountService"},
}
DEADLINE_S = 20


def channel_to(targets):
    options = [
        ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
        ("grpc.enable_retries", 0),
        # grpc-core would send the whole list of addresses as :authority.
        ("grpc.default_authority", "account-service"),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
    ]
    return grpc.aio.insecure_channel("ipv4:" + targets, options)


async def call_until(stop, get_account, outcomes):
    while not stop.is_set():
        try:
            await get_account(GET_ACCOUNT, timeout=DEADLINE_S)
            outcomes["OK"] += 1
        except grpc.aio.AioRpcError as error:
            outcomes[f"{error.code().name}: {error.details()}"] += 1


async def end_of_input():
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    await reader.read()


async def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--targets", required=True, help="ADDRESS:PORT,…")
    arguments.add_argument("--in-flight", type=int, required=True)
    arguments = arguments.parse_args()

    outcomes, stop = collections.Counter(), asyncio.Event()
    async with channel_to(arguments.targets) as channel:
        open_account = channel.unary_unary(SERVICE + "OpenAccount")
        get_account = channel.unary_unary(SERVICE + "GetAccount")
        await open_account(OPEN_ACCOUNT, timeout=DEADLINE_S, wait_for_ready=True)
        print("calling", flush=True)
        callers = [
            asyncio.create_task(call_until(stop, get_account, outcomes))
            for _ in range(arguments.in_flight)
        ]
        await end_of_input()
        stop.set()
        await asyncio.gather(*callers)
    print(json.dumps({"answered": outcomes.pop("OK", 0), "failed": outcomes}))


asyncio.run(main())
