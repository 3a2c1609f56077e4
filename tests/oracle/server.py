"""The oracle's service on grpc-core. Prints its port; SIGTERM drains it."""

import signal
import threading
import time
from concurrent import futures

import grpc

PROTOS, SERVICES = grpc.protos_and_services("oracle.proto")
CODES = {code.value[0]: code for code in grpc.StatusCode}
DRAIN_S = 5


def headers_of(context):
    return dict(context.invocation_metadata())


def echoes(context, prefix=""):
    sent = context.invocation_metadata()
    return tuple((prefix + key, value) for key, value in sent if key.startswith("echo-"))


def begin(say, context):
    """Trailers for whatever happens; turns early attempts away; does the work."""
    previous = int(headers_of(context).get("grpc-previous-rpc-attempts", "0"))
    left_s = context.time_remaining()
    trailers = echoes(context, "trailing-") + (
        ("seen-previous-attempts", str(previous)),
        ("seen-timeout-ms", "none" if left_s is None else str(int(left_s * 1000))),
    )
    if previous < say.fail_first:
        trailers += (("grpc-retry-pushback-ms", str(say.pushback_ms)),)
        context.set_trailing_metadata(trailers)
        context.abort(grpc.StatusCode.UNAVAILABLE, f"attempt {previous} is turned away")
    context.set_trailing_metadata(trailers)
    time.sleep(say.work_ms / 1000)


def finish(say, context):
    if say.status:
        context.abort(CODES[say.status], say.message)


class Oracle(SERVICES.OracleServicer):
    def Unary(self, say, context):
        begin(say, context)
        finish(say, context)
        if "please-compress" in headers_of(context):
            context.set_compression(grpc.Compression.Gzip)
        context.send_initial_metadata(echoes(context))
        return PROTOS.Say(payload=say.payload)

    def Collect(self, requests, context):
        first, count, total = PROTOS.Say(), 0, 0
        for say in requests:
            first = say if count == 0 else first
            count += 1
            total += len(say.payload)
        begin(first, context)
        finish(first, context)
        return PROTOS.Say(answers=count, total_bytes=total)

    def Repeat(self, say, context):
        begin(say, context)
        for _ in range(say.answers):
            yield PROTOS.Say(payload=say.payload)
            time.sleep(say.pause_ms / 1000)
        finish(say, context)

    def Chat(self, requests, context):
        context.send_initial_metadata(echoes(context))
        for say in requests:
            yield PROTOS.Say(payload=say.payload)
            finish(say, context)


def main():
    told_to_leave = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told_to_leave.set())
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=64), options=[("grpc.so_reuseport", 0)]
    )
    SERVICES.add_OracleServicer_to_server(Oracle(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    told_to_leave.wait()
    server.stop(DRAIN_S).wait()


main()
