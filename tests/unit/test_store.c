#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/store/containers.h"
#include "common/store/tempdir.h"
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

/* Asked often, a table answers from an index: the same answers, also after records came and went. */
static void test_index(void)
{
	struct hoy_table t = hoy_table_of(HOY_TABLE_LAYERS, false);
	static const char text[] = "[{\"id\":\"c\",\"n\":1},{\"id\":\"a\"},{\"n\":5},{\"id\":\"c\",\"n\":2},{\"id\":7}]";
	struct hoy_json *first, *neu;

	ok(!hoy_json_parse(&t.doc, text, strlen(text), "a", NULL), "a table");
	for (int i = 0; i < 5; i++)
		ok(hoy_json_int(hoy_table_get(&t, "c"), "n", 0) == 1 && hoy_table_get(&t, "a") && !hoy_table_get(&t, "d") && !hoy_table_get(&t, NULL),
		   "question %d: of records with one id the first one counts", i);
	ok(t.index.slots, "it has an index by now");
	first = hoy_table_get(&t, "c");
	hoy_json_remove(t.doc.root, first);
	neu = hoy_json_put(&t.doc, t.doc.root, NULL, hoy_json_new(&t.doc, HOY_JSON_OBJECT));
	hoy_json_set_string(&t.doc, neu, "id", "d");
	for (int i = 0; i < 5; i++)
		ok(hoy_json_int(hoy_table_get(&t, "c"), "n", 0) == 2 && hoy_table_get(&t, "d") == neu, "question %d after a change", i);
	for (int i = 0; i < 1000; i++) {
		char id[16];

		snprintf(id, sizeof(id), "x%d", i);
		hoy_json_set_string(&t.doc, hoy_json_put(&t.doc, t.doc.root, NULL, hoy_json_new(&t.doc, HOY_JSON_OBJECT)), "id", id);
	}
	for (int i = 0; i < 5; i++)
		ok(hoy_table_get(&t, "x0") && hoy_table_get(&t, "x999") == t.doc.root->last && !hoy_table_get(&t, "x1000"), "question %d of a thousand", i);
	hoy_table_release(&t);
}

/* Lock files of any size: nobody crashes, the stamp is the first 64 bytes, and what lies behind them stays. */
static void test_lock_sizes(const struct hoy_storage_args *args)
{
	static const char *const files[] = { "layers.lock", "images.lock", "containers.lock" };
	unsigned char junk[1000];
	int bad = 0;

	memset(junk, 0xa5, sizeof(junk));
	for (int size = 0; size <= (int)sizeof(junk); size += size < 70 ? 1 : 30) {
		struct hoy_store *s = NULL, *other = NULL;
		struct hoy_stamp a, b;
		struct stat st;
		int dirs[3], r = hoy_store_open(&s, args, 0, NULL);

		if (r || (dirs[0] = s->own.layersfd, dirs[1] = s->own.imagesfd, dirs[2] = s->ctrsfd, 0))
			abort();
		for (int i = 0; i < 3; i++) {
			cleanup_fd int fd = openat(dirs[i], files[i], O_WRONLY | O_TRUNC | O_CLOEXEC);

			if (fd < 0 || hoy_write_full(fd, junk, size) < 0)
				abort();
		}
		r = hoy_store_open(&other, args, 0, NULL);
		bad += r || hoy_store_peek(other, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, NULL) < 0;
		bad += hoy_store_lock(s, 0, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, NULL) < 0;
		bad += hoy_stamp_read(&s->own.images_lock, &a) < 0 || a.len != (size < 64 ? size : 64);
		s->own.images.dirty = true;
		bad += hoy_store_save(s, NULL) < 0 || hoy_stamp_read(&s->own.images_lock, &b) < 0 || b.len != 64 || hoy_stamp_same(&a, &b);
		bad += fstat(s->own.images_lock.fd, &st) < 0 || st.st_size != (size < 64 ? 64 : size);
		hoy_store_unlock(s);
		hoy_store_free(other);
		hoy_store_free(s);
		if (bad) {
			ok(false, "lock files of %d bytes", size);
			return;
		}
	}
	ok(true, "lock files of 0 to 1000 bytes");
}

/* Pairs whose owner is there are not dead; without changing anything. */
static void test_dead_tempdirs(const char *dir)
{
	cleanup_fd int home = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_strv struct hoy_strv dead = HOY_STRV_INIT;
	struct hoy_tempdir mine;

	ok(!hoy_tempdir_dead(home, "tempdirs", &dead) && !dead.n, "no directory, nothing dead");
	ok(!hoy_tempdir_new(&mine, home, "tempdirs"), "one of ours");
	ok(!mkdirat(mine.rootfd, "temp-dir-7", 0700) && !mkdirat(mine.rootfd, "other", 0700), "one without an owner");
	ok(!hoy_tempdir_dead(home, "tempdirs", &dead) && dead.n == 1 && !strcmp(dead.v[0], "temp-dir-7"), "only that one is dead");
	hoy_tempdir_recover(home, "tempdirs");
	ok(!hoy_exists(mine.rootfd, "temp-dir-7") && hoy_exists(mine.rootfd, "other"), "and goes");
	hoy_tempdir_free(&mine);
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
	test_lock_sizes(&args);
	test_index();
	test_dead_tempdirs(dir);
	ok(!hoy_remove_tree(AT_FDCWD, dir), "removed");
	return tap_done();
}
