#!/bin/sh
echo listen >&2
