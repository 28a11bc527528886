"""Fills the file system that `agentvitals serve` keeps its data on. usage: full_disk.py PROGRAM MOUNTED-DIRECTORY

What is on the disk and not ours is a ballast file: it grows, and room is made by removing it. The server is to refuse what
comes in a way that senders understand, to answer all the time, to go on by itself once there is room, and to have all
that it acknowledged, once: also after a kill on the full disk.
"""
import http.client, os, sys, time
from pathlib import Path
import grpc
from google.rpc import error_details_pb2, status_pb2
import batches
from serving import Server

program, mounted = sys.argv[1], Path(sys.argv[2])
ballast = mounted / "ballast"
server = Server(program, mounted / "data")
acknowledged, sent, todo, first = set(), set(), [], 0
RETRYABLE = ("UNAVAILABLE: ", "503: ", "429: ")


def free():
    told = os.statvfs(mounted)
    return told.f_bavail * told.f_frsize


def fill(leave):
    """Somebody else takes what is left but for so many bytes."""
    chunk = bytes(1 << 20)
    with ballast.open("ab", buffering=0) as file:
        try:
            while free() > leave:
                file.write(chunk[: max(4096, min(len(chunk), free() - leave))])
        except OSError:
            pass


def fill_for_good(leave):
    """The same, until it stays so: a segment that was just written frees the log that it was made of."""
    since = time.monotonic()
    while time.monotonic() < since + 1:
        if free() > leave:
            fill(leave)
            since = time.monotonic()
        time.sleep(0.05)


def load():
    return batches.Senders(server, todo, first, padding=600)


def until(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def full(senders):
    """Both transports were told so."""
    told = [refusal for refusal in list(senders.refused) if "kept free" in refusal or "cannot be written" in refusal]
    return any(refusal.startswith("UNAVAILABLE") for refusal in told) and any(refusal.startswith("503") for refusal in told)


def end(senders):
    """Ends a load, and looks for all that was acknowledged."""
    global todo, first
    senders.join()
    wrong = [refusal for refusal in senders.refused if refusal != "no answer" and not refusal.startswith(RETRYABLE)]
    assert not wrong, f"refused so that no sender tries again: {wrong}"
    kinds = {kind: sum(count for refusal, count in senders.refused.items() if kind in refusal) for kind in ("kept free", "log cannot be written", "segment cannot be written", "in flight", "on its way", "no answer")}
    print(f"refused: {({kind: count for kind, count in kinds.items() if count})}")
    acknowledged.update(senders.acknowledged)
    sent.update(senders.acknowledged | senders.unanswered)
    todo, first = sorted((senders.unanswered | set(senders.todo)) - acknowledged), senders.next


def look(what):
    kept = batches.check(server, acknowledged, 0, first, sent)
    print(f"{what}: {len(acknowledged)} requests were acknowledged, {kept} are there, each once; {free() >> 20} MB left", flush=True)


def check_refusals():
    """Of each signal and over both transports: an error that says when to come again."""
    for number in (0, 3, 7):
        signal, body = batches.signal_of(number), batches.request(number)
        connection = http.client.HTTPConnection(server.http, timeout=30)
        connection.request("POST", f"/v1/{signal}", body, {"content-type": "application/x-protobuf"})
        answer = connection.getresponse()
        status = status_pb2.Status.FromString(answer.read())
        assert answer.status == 503 and int(answer.headers["retry-after"]) >= 1 and "disk" in status.message, (answer.status, answer.headers.items(), status)
        with grpc.insecure_channel(server.grpc) as channel:
            try:
                channel.unary_unary(batches.SERVICES[signal])(body, timeout=30)
                raise AssertionError(f"{signal} were taken on a full disk")
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNAVAILABLE and "disk" in error.details(), error
                status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
                retry = error_details_pb2.RetryInfo()
                assert status.details[0].Unpack(retry) and retry.retry_delay.seconds >= 1, status


def check_answers():
    assert server.ask("spans", q="{ name = \"step\" }", limit=5)["spans"], "no span is found on a full disk"
    assert server.get("/api/v1/metrics/names")[0] == 200
    page = server.get("/metrics")[1]
    counted = [line for line in page.splitlines() if line.startswith("agentvitals_receiver_refused_total") and 'reason="disk_full"' in line and not line.endswith(" 0")]
    assert any('"grpc"' in line for line in counted) and any('"http"' in line for line in counted), f"the refusals are not counted: {page}"


fill(leave=220 << 20)
server.start()
senders = load()
until("it says that the disk is full", lambda: full(senders))
end(senders)
fill_for_good(leave=60 << 20)
check_refusals()
check_answers()
look("full")

fill_for_good(leave=0)
check_refusals()
check_answers()
look("not a byte left")

# Room is made while senders try again and again: no restart.
senders = load()
time.sleep(0.5)
assert not senders.acknowledged, "something was taken without a byte left"
ballast.unlink()
until("it takes again", lambda: len(senders.acknowledged) > 50, seconds=15)
# And taken away again at once, while much is on its way to the log.
for _ in range(3):
    fill(leave=0)
    time.sleep(0.3)
    before = len(senders.acknowledged)
    ballast.unlink()
    until("it takes again", lambda: len(senders.acknowledged) > before + 20, seconds=15)
fill(leave=60 << 20)
until("it says that the disk is full", lambda: full(senders))
server.kill()
end(senders)

server.start()
fill_for_good(leave=60 << 20)
check_refusals()
look("killed while it was full")
fill_for_good(leave=0)
server.kill()
try:
    server.start()
    print("it starts without a byte left")
except AssertionError as error:
    print(f"it does not start without a byte left: {error}")
else:
    look("started without a byte left")
    server.kill()
ballast.unlink()
server.start()
senders = load()
until("it takes again", lambda: len(senders.acknowledged) > 50, seconds=15)
end(senders)
look("room again")
server.stop()
server.start()
look("the next process")
server.stop()
