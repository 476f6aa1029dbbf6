#!/usr/bin/env bash
# Exits with 0 if the server on this machine says that a version of the model `flow` is AVAILABLE.
#     bash health_check.sh [REST_PORT]
# For inside the server's image, which has neither curl nor Python: bash opens the connection itself.
set -euo pipefail

exec 3<>"/dev/tcp/127.0.0.1/${1:-8501}"
printf 'GET /v1/models/flow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
# Of all states only this one may answer requests; UNAVAILABLE does not match, for the quotes.
timeout 4 grep --quiet --extended-regexp '"state": *"AVAILABLE"' <&3
