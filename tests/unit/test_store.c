#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/store/containers.h"
#include "common/store/store.h"
#include "tests/unit/tap.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void add(struct hoy_store *s, const char *id, const char *name)
{
	struct hoy_container_new n = { .id = id, .name = name, .image = "", .layer = id };

	ok(!hoy_store_lock(s, 0, HOY_CONTAINERS, NULL) && !hoy_container_create(s, &n, NULL), "container %s is added", name);
	hoy_store_unlock(s);
}

/*
 * A writer stamps, then saves. Who looks in between without a lock sees the old records with the new stamp, and must not
 * take them for current when it has the lock.
 */
static void test_peek_between_stamp_and_save(const struct hoy_storage_args *args)
{
	struct hoy_store *reader = NULL, *writer = NULL;
	cleanup_free char *old = NULL, *neu = NULL;
	struct hoy_stamp stamp;
	size_t len;
	int fd;

	ok(!hoy_store_open(&writer, args, 0, NULL) && !hoy_store_open(&reader, args, 0, NULL), "two handles");
	fd = writer->ctrsfd;
	add(writer, A, "a");
	ok(!hoy_read_file(fd, "containers.json", 1 << 20, &old, NULL, NULL), "the file with one record");
	add(writer, B, "b");
	ok(!hoy_read_file(fd, "containers.json", 1 << 20, &neu, &len, NULL), "the file with two");
	/* The moment in between, held still. */
	ok(!hoy_replace_file(fd, "containers.json", old, strlen(old), 0600, false) && !hoy_stamp_write(&writer->ctrs_lock, &stamp), "stamped");
	ok(!hoy_store_peek(reader, HOY_CONTAINERS, NULL) && !hoy_container_get(reader, B), "a peek sees the old records");
	ok(!hoy_replace_file(fd, "containers.json", neu, len, 0600, false), "saved");
	ok(!hoy_store_lock(reader, 0, HOY_CONTAINERS, NULL) && hoy_container_get(reader, B), "the lock sees the new ones");
	hoy_store_unlock(reader);
	hoy_store_free(reader);
	hoy_store_free(writer);
}

int main(void)
{
	char dir[] = "/tmp/hoy-unit-XXXXXX";
	cleanup_free char *root = NULL, *run = NULL;
	struct hoy_storage_args args = { 0 };

	if (!mkdtemp(dir))
		abort();
	args.root = root = hoy_path_join(dir, "root");
	args.runroot = run = hoy_path_join(dir, "run");
	test_peek_between_stamp_and_save(&args);
	ok(!hoy_remove_tree(AT_FDCWD, dir), "removed");
	return tap_done();
}
