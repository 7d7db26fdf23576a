#!/bin/sh
echo "$1d"
