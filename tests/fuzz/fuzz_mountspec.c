/* sources: cmd-build/outspec.c cmd-build/mountspec.c cmd-build/joinclean.c cmd-build/builder/mode.c */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-build/builder/builder.h"
#include "cmd-build/mounts.h"
#include "cmd-build/outspec.h"
#include "common/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* --mount of a RUN; the same text as a mode of --chmod, and as --output. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mount_spec m = { .options = HOY_STRV_INIT };
	struct hoy_err err = HOY_ERR_INIT;
	struct outspec o;
	char *text = strndup((const char *)data, size);

	if (!mount_spec_parse(&m, text, "/work", &err) && m.target && (*m.target != '/' || strstr(m.target, "/../")))
		abort();
	mount_spec_release(&m);
	if (!chmod_check(text, &err) && (chmod_mode(text, S_IFDIR | 0755) & ~07777U))
		abort();
	if (!outspec_parse(&o, text, &err) && o.kind == OUT_DIR && !o.dest)
		abort();
	outspec_release(&o);
	free(text);
	return 0;
}
