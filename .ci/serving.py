"""`agentvitals serve` as a process that is ended, killed and started again, and questions to it."""
import json, os, shutil, subprocess, urllib.error, urllib.request


class Server:
    """Runs on free ports until it is stopped or killed; it does not outlive this process, however that ends."""

    def __init__(self, program, directory, *arguments):
        self.program, self.directory, self.arguments, self.process = program, directory, arguments, None

    def launch(self):
        """Starts it, and does not wait until it is ready."""
        arguments = [self.program, "serve", "--data-dir", str(self.directory)]
        for address in ("--otlp-grpc", "--otlp-http", "--api"):
            arguments += [address, "127.0.0.1:0"]
        arguments += self.arguments
        # Not a function that runs in the child: gRPC's threads do not get over a fork.
        if shutil.which("setpriv"):
            arguments = ["setpriv", "--pdeathsig", "KILL", *arguments]
        environment = {key: value for key, value in os.environ.items() if key != "AGENTVITALS_TOKEN"}
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)

    def start(self):
        self.launch()
        line = self.process.stdout.readline()
        assert line, f"the server did not start: status {self.process.wait(10)}"
        ready = json.loads(line)
        self.grpc, self.http, self.api = ready["otlp_grpc"], ready["otlp_http"], ready["api"]
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        status = self.process.wait(60)
        assert status == 0, f"the server ended with status {status}"

    def ask(self, what, **question):
        """The API's answer to a question as JSON."""
        body = json.dumps(question).encode()
        request = urllib.request.Request(f"http://{self.api}/api/v1/{what}", body, {"content-type": "application/json"})
        for attempt in range(10):
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                # Too slow, on a machine that does something else: no answer, but no wrong one.
                if error.code != 504 or attempt == 9:
                    raise AssertionError(f"{what} {question}: {error.code} {error.read().decode()}") from error

    def get(self, path):
        """Status and text of a page beside the questions, such as /metrics."""
        try:
            with urllib.request.urlopen(f"http://{self.api}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
