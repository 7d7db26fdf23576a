#include "common/cli/call.h"

#include <errno.h>

#include "common/base/strv.h"
#include "common/cli/opts.h"
#include "common/cli/prompt.h"
#include "common/proc/sibling.h"

int hoy_call_tool(const char *tool, const char *const *words, struct hoy_buf *out)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	int r;

	hoy_strv_push(&argv, tool);
	hoy_globals_argv(&argv);
	for (; *words; words++)
		hoy_strv_push(&argv, *words);
	if (argv.error)
		return -ENOMEM;
	hoy_prompt_lend(out);
	r = hoy_sibling_run(tool, argv.v, out);
	hoy_prompt_lend(false);
	return r;
}
