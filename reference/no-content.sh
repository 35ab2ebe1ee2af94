#!/bin/sh
# Answers one HTTP request on standard input with 204, which NetworkManager's connectivity check takes for "full".
# QEMU starts it for every connection of the guest to 10.0.2.4:80 (`cargo xtask run`), so that the guest is online
# on a machine without the internet too.
end=$(printf '\r')
while IFS= read -r line && [ "$line" != "$end" ]; do :; done
printf 'HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
