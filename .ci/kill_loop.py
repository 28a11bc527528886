"""Kills `agentvitals serve` at random moments under load, again and again. usage: kill_loop.py PROGRAM DIRECTORY ROUNDS SEED

After each kill what was sent in that round is looked for, and now and then all: whatever was acknowledged must be there,
once. Requests without an answer are sent again in the next round, as senders do.
"""
import random, sys, time
import batches
from serving import Server

program, directory, rounds, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
LOOK_AT_ALL = 50
print(f"seed {seed}")
chance = random.Random(seed)
# Small segments are put together all the time, so that kills hit that, too.
server = Server(program, directory, "--maintain-every", "20ms")
acknowledged, todo, sent, first, kills = set(), [], set(), 0, 0
began = time.monotonic()
for round in range(1, rounds + 1):
    try:
        # A death while it reads its log.
        if chance.random() < 0.3:
            server.launch()
            time.sleep(chance.uniform(0, 0.1))
            server.kill()
            kills += 1
        server.start()
        senders = batches.Senders(server, todo, first, connections=chance.choice([2, 4, 8]))
        # Also while it is still starting to take, and also when much was taken.
        time.sleep(chance.choice([0.005, 0.02, 0.05, 0.1, 0.2, 0.4]) * chance.uniform(0.2, 1.5))
        server.kill()
        kills += 1
        senders.join()
        acknowledged |= senders.acknowledged
        sent |= senders.acknowledged | senders.unanswered
        todo = sorted((senders.unanswered | set(senders.todo)) - acknowledged)
        from_here = min([first, *senders.acknowledged, *senders.unanswered])
        first = max(senders.next, first)
        server.start()
        everything = round % LOOK_AT_ALL == 0 or round == rounds
        batches.check(server, acknowledged, 0 if everything else from_here, first, sent)
        refused = {refusal: count for refusal, count in senders.refused.items() if refusal != "no answer" and not refusal.startswith(("UNAVAILABLE", "429", "CANCELLED"))}
        assert not refused, f"requests were refused: {refused}"
        # A second death of the same process, right after it was asked.
        if chance.random() < 0.5:
            server.kill()
            kills += 1
        else:
            server.stop()
        if everything:
            print(f"{round} rounds, {kills} kills, {len(acknowledged)} requests acknowledged, {time.monotonic() - began:.0f} s", flush=True)
    except AssertionError as error:
        sys.exit(f"FAILED in round {round} of seed {seed}: {error}")
assert len(acknowledged) > rounds, f"only {len(acknowledged)} requests were acknowledged"
spans = sum(batches.size_of(number) for number in acknowledged)
print(f"{kills} kills in {rounds} rounds: {len(acknowledged)} requests with {spans} rows were acknowledged, all are there, each once")
