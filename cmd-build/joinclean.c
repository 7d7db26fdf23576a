/* cmd-build/joinclean.c: paths as Go joins them. */
#include <string.h>

#include "cmd-build/build.h"
#include "common/base/buf.h"
#include "common/base/fd.h"

char *join_clean(const char *dir, const char *path)
{
	cleanup_strv struct hoy_strv parts = HOY_STRV_INIT, words = HOY_STRV_INIT;
	cleanup_free char *whole = *path == '/' ? strdup(path) : hoy_path_join(*dir ? dir : "/", path);
	struct hoy_buf b = HOY_BUF_INIT(1 << 20);

	hoy_strv_split(&words, whole ?: "/", '/');
	for (size_t i = 0; i < words.n; i++) {
		if (!strcmp(words.v[i], "..")) {
			if (parts.n)
				hoy_strv_remove(&parts, parts.n - 1);
		} else if (*words.v[i] && strcmp(words.v[i], ".")) {
			hoy_strv_push(&parts, words.v[i]);
		}
	}
	for (size_t i = 0; i < parts.n; i++)
		hoy_buf_printf(&b, "/%s", parts.v[i]);
	if (!parts.n)
		hoy_buf_puts(&b, "/");
	return hoy_buf_steal(&b);
}
