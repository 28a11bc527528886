# What the interoperability scripts share. Sourced, not run.
#
# AGENTVITALS_CACHE         where programs that were installed or built for the tests stay
# AGENTVITALS_COUNTERPARTS  a folder with build files and recordings of other projects' programs

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${AGENTVITALS_CACHE:-$HOME/.cache/agentvitals}
mkdir -p "$cache"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
work=$(mktemp -d)
pids=()

# Ends what was started here, by its id, and removes what was written.
cleanup() {
    local status=$? pid
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do
        for _ in $(seq 50); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    if [ "$status" -ne 0 ]; then
        for log in "$work"/*.log; do
            [ -e "$log" ] || continue
            echo "--- end of $(basename "$log")"
            tail -n 15 "$log" | cut -c 1-300
        done
    fi
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# start NAME COMMAND...: runs it in the background; its output goes to $work/NAME.log.
start() {
    local name=$1
    shift
    "$@" >"$work/$name.log" 2>&1 &
    pids+=($!)
}

# free_ports N: N ports on loopback that nobody listens on.
free_ports() {
    python3 - "$1" <<'PYTHON'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in sockets])
PYTHON
}

# wait_for SECONDS COMMAND...: until the command succeeds; the last process that was started must live.
wait_for() {
    local seconds=$1 end
    shift
    end=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        kill -0 "${pids[-1]}" 2>/dev/null || fail "the program ended while waiting for: $*"
        [ "$SECONDS" -lt "$end" ] || fail "not within $seconds s: $*"
        sleep 0.1
    done
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The real Jaeger, which is a Collector with contrib parts as well. Built once, into the cache (minutes).
jaeger() {
    local dir=${AGENTVITALS_JAEGER_DIR:-$cache/jaeger}
    if [ ! -x "$dir/jaeger" ]; then
        local build=${AGENTVITALS_COUNTERPARTS:?set it to the folder with go/build.sh, or AGENTVITALS_JAEGER_DIR}/go/build.sh
        echo "building Jaeger into $dir" >&2
        PATH=$PATH:/usr/local/go/bin timeout 1500 "$build" "$dir" >&2 || fail "Jaeger was not built"
    fi
    echo "$dir/jaeger"
}

# The Collector project's own generator; it is built with Jaeger.
telemetrygen() {
    local dir
    dir=$(dirname "$(jaeger)")
    [ -x "$dir/telemetrygen" ] || fail "there is no $dir/telemetrygen; remove the folder, so that it is built"
    echo "$dir/telemetrygen"
}

# OpenTelemetry's own SDK for Python, with its protobuf messages and gRPC.
python_sdk() {
    venv python-sdk opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp==1.45.2
}

# rotel, a collector in Rust.
rotel() {
    local tools
    tools=$(venv rotel rotel==0.0.1a15)
    echo "$tools"/lib/python3*/site-packages/rotel/rotel-agent
}

# The built program of this project.
agentvitals() {
    (cd "$root" && cargo build --quiet --release --bin agentvitals >&2) || fail "the program does not build"
    echo "$CARGO_TARGET_DIR/release/agentvitals"
}

# serve PROGRAM DIR [ARGUMENT...]: `agentvitals serve` on free ports. Sets SERVE_PID, OTLP_GRPC, OTLP_HTTP and API.
serve() {
    local program=$1 dir=$2 number=${#pids[@]}
    shift 2
    # Not the environment of a developer.
    start "serve-$number" env -u AGENTVITALS_TOKEN "$program" serve --data-dir "$dir" --otlp-grpc 127.0.0.1:0 \
        --otlp-http 127.0.0.1:0 --api 127.0.0.1:0 "$@"
    export SERVE_PID=${pids[-1]}
    wait_for 60 grep -q '^{"ready":true' "$work/serve-$number.log"
    read -r OTLP_GRPC OTLP_HTTP API < <(grep -m 1 '^{"ready":true' "$work/serve-$number.log" | python3 -c '
import json, sys
ready = json.load(sys.stdin)
print(ready["otlp_grpc"], ready["otlp_http"], ready["api"])')
    export OTLP_GRPC OTLP_HTTP API
}

# end PID: it must end by itself, in good order, once it is asked to.
end() {
    kill "$1"
    wait "$1" || fail "process $1 ended with status $?"
}

# venv NAME PACKAGE...: a Python environment in the cache with these packages; gives its folder.
venv() {
    local dir=$cache/venv-$1 marker
    shift
    marker="$dir/installed-$(printf '%s\n' "$@" | cksum | cut -d' ' -f1)"
    if [ ! -e "$marker" ]; then
        rm -rf "$dir"
        python3 -m venv "$dir" >&2
        timeout 600 "$dir/bin/pip" install --quiet --disable-pip-version-check "$@" >&2 || fail "pip install $*"
        touch "$marker"
    fi
    echo "$dir"
}

# debian RELEASE PACKAGE: a package of another release of Debian, unpacked into the cache and installed nowhere; gives its
# folder. It comes from where this machine's packages come from.
debian() {
    local dir=$cache/debian-$1-$2 lists=$work/apt codename mirror options
    if [ ! -e "$dir/unpacked" ]; then
        codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
        # shellcheck disable=SC2016 # It is apt-get that fills it in.
        mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $codename" | head -n 1)
        [ -n "$mirror" ] || fail "this machine's packages come from no mirror of Debian"
        mkdir -p "$lists/lists/partial" "$lists/archives/partial" "$dir"
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $1 main" >"$lists/sources.list"
        options=(-qq -o "Dir::Etc::sourcelist=$lists/sources.list" -o Dir::Etc::sourceparts=/dev/null
            -o "Dir::State::lists=$lists/lists" -o "Dir::Cache=$lists" -o APT::Sandbox::User=root)
        (cd "$lists" && apt-get "${options[@]}" update && apt-get "${options[@]}" download "$2") >&2 || fail "apt-get download $2"
        dpkg-deb -x "$lists/$2"_*.deb "$dir"
        touch "$dir/unpacked"
    fi
    echo "$dir"
}

# example NAME: the built example's path.
example() {
    (cd "$root" && cargo build --quiet --all-features --example "$1" >&2) || fail "example $1 does not build"
    echo "$CARGO_TARGET_DIR/debug/examples/$1"
}
