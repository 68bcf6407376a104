/* A disk that can be full. While the file named by AUTH_TEST_DISK_FULL exists, a write that would make a regular file
   longer fails with ENOSPC; writes into what a file has already succeed, as they do on a full disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <fcntl.h>

static int refuses(int file, off_t offset, size_t length)
{
    struct stat facts;
    const char *mark;
    int before = errno;

    /* Standard output is the server's log. */
    if (file <= 2 || fstat(file, &facts) != 0 || !S_ISREG(facts.st_mode))
    {
        errno = before;
        return 0;
    }
    if (offset < 0)
        offset = (fcntl(file, F_GETFL) & O_APPEND) ? facts.st_size : lseek(file, 0, SEEK_CUR);
    mark = getenv("AUTH_TEST_DISK_FULL");
    if (offset + (off_t) length <= facts.st_size || mark == NULL || access(mark, F_OK) != 0)
    {
        errno = before;
        return 0;
    }
    errno = ENOSPC;
    return 1;
}

static size_t total(const struct iovec *parts, int count)
{
    size_t sum = 0;

    for (int part = 0; part < count; part++)
        sum += parts[part].iov_len;
    return sum;
}

/* The function of the same name that the C library has. */
#define REAL(name) dlsym(RTLD_NEXT, name)

ssize_t write(int file, const void *bytes, size_t length)
{
    static ssize_t (*real)(int, const void *, size_t);

    if (real == NULL)
        real = REAL("write");
    return refuses(file, -1, length) ? -1 : real(file, bytes, length);
}

#define PWRITE(name) \
    ssize_t name(int file, const void *bytes, size_t length, off_t offset) \
    { \
        static ssize_t (*real)(int, const void *, size_t, off_t); \
        if (real == NULL) \
            real = REAL(#name); \
        return refuses(file, offset, length) ? -1 : real(file, bytes, length, offset); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define PWRITEV(name) \
    ssize_t name(int file, const struct iovec *parts, int count, off_t offset) \
    { \
        static ssize_t (*real)(int, const struct iovec *, int, off_t); \
        if (real == NULL) \
            real = REAL(#name); \
        return refuses(file, offset, total(parts, count)) ? -1 : real(file, parts, count, offset); \
    }
PWRITEV(pwritev)
PWRITEV(pwritev64)

#define FALLOCATE(name) \
    int name(int file, off_t offset, off_t length) \
    { \
        static int (*real)(int, off_t, off_t); \
        if (real == NULL) \
            real = REAL(#name); \
        return refuses(file, offset, length) ? ENOSPC : real(file, offset, length); \
    }
FALLOCATE(posix_fallocate)
FALLOCATE(posix_fallocate64)
