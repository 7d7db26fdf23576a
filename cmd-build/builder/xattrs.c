/* cmd-build/builder/xattrs.c: extended attributes that an image keeps: what users set, and file capabilities. */
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "cmd-build/builder/builder.h"

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct tar_xattr_out *)a)->key, ((const struct tar_xattr_out *)b)->key);
}

void read_xattrs(int fd, struct xattrs *x)
{
	ssize_t n = flistxattr(fd, x->names, sizeof(x->names));

	x->n = 0;
	for (char *k = x->names; n > 0 && k < x->names + n && x->n < ARRAY_SIZE(x->v); k += strlen(k) + 1) {
		char value[65536];
		ssize_t len;

		if (strcmp(k, "security.capability") && (strncmp(k, "user.", 5) || !strncmp(k, "user.overlay.", 13)))
			continue;
		len = fgetxattr(fd, k, value, sizeof(value));
		x->values[x->n] = len < 0 ? NULL : malloc(len + 1);
		if (!x->values[x->n])
			continue;
		memcpy(x->values[x->n], value, len);
		x->v[x->n] = (struct tar_xattr_out){ k, x->values[x->n], len };
		x->n++;
	}
	qsort(x->v, x->n, sizeof(*x->v), by_key);
}

void set_xattrs(int fd, const struct xattrs *x)
{
	for (size_t i = 0; i < x->n; i++)
		(void)fsetxattr(fd, x->v[i].key, x->v[i].value, x->v[i].len, 0);
}

void xattrs_release(struct xattrs *x)
{
	for (size_t i = 0; i < x->n; i++)
		free(x->values[i]);
}
