#include "cmd-build/signing.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/strv.h"
#include "common/cli/call.h"
#include "common/data/digest.h"

int sign_stored(const char *id, const char *name, const char *key, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 16);
	char chance[HOY_ID_SIZE];
	int r = name ? 0 : hoy_random_id(chance);

	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot draw a random number");
	/* It is ours: no policy has to judge it. */
	hoy_strv_push(&argv, "--insecure-policy");
	hoy_strv_push(&argv, "copy");
	hoy_strv_push(&argv, "--quiet");
	hoy_strv_push(&argv, "--remove-signatures");
	hoy_strv_pushf(&argv, "--sign-by=%s", key);
	if (name)
		hoy_strv_pushf(&argv, "--sign-identity=%s", name);
	else
		hoy_strv_pushf(&argv, "--sign-identity=docker.io/library/%s-tmp:latest", chance);
	hoy_strv_pushf(&argv, "containers-storage:@%s", id);
	hoy_strv_pushf(&argv, "containers-storage:@%s", id);
	r = argv.error ? -ENOMEM : hoy_call_tool("hoy-image", (const char *const *)argv.v, &out);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot run hoy-image");
	return r ? -HOY_EREMOTE : 0;
}
