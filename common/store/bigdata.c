#include "common/store/bigdata.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/data/base64.h"
#include "common/data/digest.h"

#define ITEM_MAX ((size_t)64 << 20)

char *hoy_item_file(const char *key)
{
	struct hoy_buf b = HOY_BUF_INIT(1024);

	if (strspn(key, ".0123456789abcdefghijklmnopqrstuvwxyz") == strlen(key)) {
		hoy_buf_puts(&b, key);
	} else {
		hoy_buf_putc(&b, '=');
		hoy_base64(&b, key, strlen(key));
	}
	return hoy_buf_steal(&b);
}

static int path_of(char *ret, size_t size, const char *id, const char *key)
{
	cleanup_free char *file = hoy_item_file(key);

	if (!file)
		return -ENOMEM;
	if (!hoy_is_id(id) || !*key || !strcmp(file, ".") || !strcmp(file, "..") || strchr(file, '/'))
		return -EINVAL;
	return snprintf(ret, size, "%s/%s", id, file) < (int)size ? 0 : -ENAMETOOLONG;
}

int hoy_item_read(int dirfd, const char *id, const char *key, char **ret_data, size_t *ret_len, struct hoy_err *err)
{
	char path[1200];
	int r = path_of(path, sizeof(path), id, key);

	if (!r)
		r = hoy_read_file(dirfd, path, ITEM_MAX, ret_data, ret_len, NULL);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot read item '%s' of '%.12s'", key, id) : 0;
}

int hoy_item_write(int dirfd, const char *id, const struct hoy_item *item, struct hoy_err *err)
{
	cleanup_fd int sub = -1;
	char path[1200];
	int r = path_of(path, sizeof(path), id, item->key);

	if (!r) {
		sub = hoy_open_dir_p(dirfd, id, 0700);
		r = sub < 0 ? sub : hoy_replace_locked(sub, strchr(path, '/') + 1, item->data, item->len, 0600, true);
	}
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write item '%s' of '%.12s'", item->key, id) : 0;
}
