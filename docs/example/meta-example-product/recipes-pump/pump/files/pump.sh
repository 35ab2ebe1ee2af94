#!/bin/sh
# Stands for the application: once a minute the time and how far the device reaches, in a record of at most a thousand
# lines.
set -eu

record=/data/pump/record
while :; do
    echo "$(date -u +%FT%TZ) $(fleet connectivity | head -n 1)" >>"$record"
    tail -n 1000 "$record" >"$record.new"
    mv "$record.new" "$record"
    sleep 60
done
