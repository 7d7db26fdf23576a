/* sources: cmd-build/cfile.c cmd-build/cfile_docs.c cmd-build/words.c cmd-build/subst.c cmd-build/builder/ignore.c */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-build/builder/ignore.h"
#include "cmd-build/cfile.h"
#include "cmd-build/subst.h"
#include "common/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* A Containerfile, whose words are substituted; the same text as a list of what is ignored. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_cfile struct cfile f = CFILE_INIT;
	cleanup_strv struct hoy_strv vars = HOY_STRV_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	struct ignore g = { 0 };
	char *text = strndup((const char *)data, size);

	hoy_strv_push(&vars, "A=a/b.c/d.e");
	hoy_strv_push(&vars, "E=");
	(void)cfile_parse(&f, "fuzz", (const char *)data, size, &err);
	for (size_t i = 0; i < f.n && i < 20; i++)
		for (size_t k = 0; k < f.v[i].args.n && k < 20; k++) {
			cleanup_strv struct hoy_strv out = HOY_STRV_INIT;

			if (strlen(f.v[i].args.v[k]) > 500)
				continue;
			(void)subst_words(f.v[i].args.v[k], f.escape, &vars, &out, &err);
			free(subst_text(f.v[i].args.v[k], f.escape, &vars, &err));
		}
	if (size < 300 && !ignore_parse(&g, text, "fuzz", &err))
		(void)ignore_matches(&g, "a/b/c.d/e");
	ignore_release(&g);
	free(text);
	return 0;
}
