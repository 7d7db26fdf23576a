/* cmd-net/sha512.h: SHA-512 as text; netavark names a network in its files by the beginning of its name's hash. */
#pragma once
#include <stddef.h>

/* The first SIZE-1 upper-case hexadecimal digits of the hash of LEN bytes; SIZE at most 129. */
void sha512_hex(const void *data, size_t len, char *ret, size_t size);
