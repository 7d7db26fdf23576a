#!/bin/sh
echo envsubst >&2
