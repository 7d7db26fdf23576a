#include "cmd-build/makeimage.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/strv.h"
#include "common/cli/call.h"
#include "common/data/json.h"

/* SPEC in a file without a name: its descriptor, which the tool inherits. */
static int spec_file(const struct hoy_json *spec, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(32 << 20);
	struct hoy_jw w = hoy_jw_on(&out, NULL);
	cleanup_fd int fd = -1;
	int r;

	hoy_jw_value(&w, NULL, spec);
	if (out.error)
		return hoy_fail_oom(err);
	fd = memfd_create("hoy-build", 0);
	r = fd < 0 ? -errno : hoy_write_full(fd, out.data, out.len);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write what is committed") : steal_fd(&fd);
}

int make_image_of(const struct hoy_json *spec, const struct hoy_strv *words, char id[HOY_ID_SIZE], struct hoy_err *err)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 16);
	cleanup_fd int fd = spec_file(spec, err);
	int status;

	if (fd < 0)
		return fd;
	hoy_strv_push(&argv, "commit");
	hoy_strv_pushf(&argv, "--spec=/dev/fd/%d", fd);
	for (size_t i = 0; i < words->n; i++)
		hoy_strv_push(&argv, words->v[i]);
	status = argv.error || words->error ? -ENOMEM : hoy_call_tool("hoy-transfer", (const char *const *)argv.v, &out);
	if (status < 0)
		return hoy_fail_errno(err, -status, "cannot run hoy-transfer");
	if (status)
		return -HOY_EREMOTE; /* it has told the user why */
	if (out.len < HOY_ID_LEN || !hoy_is_hex(out.data, HOY_ID_LEN))
		return hoy_fail(err, HOY_EFORMAT, "hoy-transfer did not print an image id");
	snprintf(id, HOY_ID_SIZE, "%.*s", HOY_ID_LEN, out.data);
	return 0;
}
