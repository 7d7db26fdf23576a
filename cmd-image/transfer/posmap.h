/* cmd-image/transfer/posmap.h: a map from numbers (inodes, hashes of names) to positions; 16 bytes an element. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct posmap {
	struct posmap_slot *slots;
	size_t n, cap; /* cap is 0 or a power of two */
};
bool posmap_get(const struct posmap *m, uint64_t key, uint64_t *ret);
/* Set or replace; 0 or -ENOMEM. */
int posmap_put(struct posmap *m, uint64_t key, uint64_t pos);
void posmap_del(struct posmap *m, uint64_t key);
void posmap_release(struct posmap *m);
