# Sends a known amount of everything with telemetrygen. Sourced, after lib.sh.

# send_telemetrygen PROGRAM SERVICE ENDPOINT [ARGUMENT...]: what check_telemetrygen.py then looks for.
send_telemetrygen() {
    local program=$1 service=$2 endpoint=$3 kind
    shift 3
    local common=(--otlp-insecure --otlp-endpoint "$endpoint" --service "$service" --rate 0 "$@"
        --otlp-attributes 'region="eu"' --telemetry-attributes 'n=7')
    {
        timeout 60 "$program" traces "${common[@]}" --workers 4 --traces 25 --child-spans 3 --span-links 1 \
            --status-code Error --telemetry-attributes 'gen_ai.agent.name="planner"' \
            --telemetry-attributes 'on=true' --telemetry-attributes 'list=["a","b"]'
        for kind in Gauge Sum Histogram ExponentialHistogram; do
            timeout 60 "$program" metrics "${common[@]}" --metrics 20 --metric-type "$kind" \
                --otlp-metric-name "gen.$(sed 's/lH/l_h/' <<<"$kind" | tr '[:upper:]' '[:lower:]')" \
                --aggregation-temporality delta
        done
        timeout 60 "$program" logs "${common[@]}" --workers 4 --logs 25 --body 'it broke' --severity-number 17 \
            --severity-text ERROR
    } >"$work/telemetrygen.log" 2>&1 || fail "telemetrygen: $(tail -n 3 "$work/telemetrygen.log")"
}
