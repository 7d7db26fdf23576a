/* cmd-image/transfer/files.h: a set of named files, which is a directory or a tar archive (itself compressed perhaps). */
#pragma once
#include "cmd-image/transfer/stream.h"

struct files;
/* A directory. */
int files_open_dir(struct files **ret, const char *path, struct hoy_err *err);
/* A tar file; "-" is stdin. What cannot be read at any place (pipes, compressed files) is put into a temporary file. */
int files_open_tar(struct files **ret, const char *path, struct hoy_err *err);
void files_free(struct files *f);
/* A new stream of file NAME; usable in several threads at once. *RET_SIZE may be NULL. -ENOENT with a sentence. */
int files_stream(struct files *f, const char *name, struct stream **ret, int64_t *ret_size, struct hoy_err *err);
/* All of file NAME, of at most MAX bytes. */
int files_read(struct files *f, const char *name, size_t max, char **ret, size_t *ret_len, struct hoy_err *err);
bool files_has(struct files *f, const char *name);
const char *files_path(const struct files *f);
/* PATH ("-": stdin), or if need be its inflated copy in a temporary file: a descriptor that can be read at any place. */
int files_plain(const char *path, int *ret_fd, struct hoy_err *err);
/* All of IN in a new temporary file, which stands at its end. */
int temp_copy(struct stream *in, int *ret_fd, struct hoy_err *err);
/* An unlinked temporary file in $TMPDIR or /var/tmp; fd or -errno. */
int temp_file(void);
