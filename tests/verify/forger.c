// A TorchScript extension that takes the place of the program it is loaded into: it reads the questions of the
// supervisor and answers them itself, with numbers that it makes up, and no model computes anything.
// HOW: 0 answers each call with zeros, 1 says that everything passed, 2 answers a question that nobody has asked.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { questions = 0, answers = 3, load = 3, unload = 4, evaluate = 5, ask_for = 6, widened = 9, last = 25 };

static char *content;
static size_t used;

static void put(const void *data, size_t size) {
    content = realloc(content, used + size);
    memcpy(content + used, data, size);
    used += size;
}
static void number(uint64_t value) { put(&value, sizeof value); }
static void text(const char *value) {
    number(strlen(value));
    put(value, strlen(value));
}
static void zeros(size_t count) {
    const double zero = 0.0;
    for (size_t k = 0; k < count; ++k) {
        put(&zero, sizeof zero);
    }
}
static int all(void *data, size_t size) {
    for (size_t got = 0; got < size;) {
        const ssize_t count = read(questions, (char *)data + got, size - got);
        if (count <= 0) {
            return 0;
        }
        got += (size_t)count;
    }
    return 1;
}
static void begin(uint64_t question) {
    const uint32_t fine = 0;
    used = 0;
    number(0);  // room for the length
    number(question);
    put(&fine, sizeof fine);
}
static void end(void) {
    const uint64_t size = used - 8;
    memcpy(content, &size, 8);
    usleep(1000);  // as long as a model would take
    for (size_t sent = 0; sent < used;) {
        const ssize_t count = write(answers, content + sent, used - sent);
        if (count <= 0) {
            _exit(0);
        }
        sent += (size_t)count;
    }
}

/// Energy, forces and virial of the one system of a call.
static void answer_call(const char *call, uint64_t question) {
    uint64_t name = 0, atoms = 0, pairs = 0, selected = 0;
    memcpy(&name, call + 8, 8);  // after the number of systems
    call += 16 + name;
    memcpy(&atoms, call, 8);
    call += 8 + 4 * atoms + 8 + 24 * atoms + 72 + 3 + 16;  // types, positions, cell, periodicity, charge and spin
    memcpy(&pairs, call, 8);
    memcpy(&selected, call + 12, 8);
    uint32_t per_atom = 0;
    memcpy(&per_atom, call + 20 + 8 * selected, 4);
    const int gradients = call[24 + 8 * selected];
    if (pairs != 0 || per_atom) {
        _exit(75);  // no such call is made by the checks that this is for
    }
    const unsigned char no = 0;
    const int32_t row = 0;
    begin(question);
    number(1), zeros(1);                          // values
    number(2), number(1), number(1);              // shape
    number(1), number(1), put(&row, sizeof row);  // layout of its one block: key,
    number(0), number(0), number(1);              // components and their labels, properties
    text("float64"), number(1);                   // dtype, blocks
    number(1), text("system");                    // names of samples
    number(1), number(1), put(&row, sizeof row);  // samples
    number(1), text("energy");                    // properties
    number(0), number(1), text("_");              // explicit gradients, keys
    number(gradients), gradients ? (number(atoms), zeros(3 * atoms)) : (void)0;  // forces
    number(gradients), zeros(9 * gradients);                                     // virials
    number(0), number(0), put(&no, 1), text("");  // changed inputs, others, random numbers, exceptions
    end();
}

static void declare(uint64_t question) {
    const unsigned char yes = 1, no = 0;
    const int64_t types[] = {1, 6, 8, 29};
    const double range = 3.2, one = 1.0;
    begin(question);
    number(1);                                              // instance
    text("perfect"), number(4), put(types, sizeof types);
    put(&range, sizeof range), text("angstrom"), text("float64");
    number(1), text("cpu");
    number(1), text("energy"), text("eV"), text("system"), text("");
    number(0), put(&no, 1);                                 // inputs, time step
    text("energy"), text("eV"), text("system"), put(&one, sizeof one), put(&one, sizeof one);
    put(&no, 1), put(&no, 1);                               // units that somebody assumes
    number(1), put(&range, sizeof range), put(&yes, 1), put(&yes, 1);
    end();
}

/// The number of the question that is being answered while this library is loaded: a string of twelve bytes in the frames
/// above, which holds the number and the kind.
static uint64_t number_asked(void) {
    char *at = __builtin_frame_address(0);
    for (size_t offset = 0; offset < (1 << 16); offset += 8) {
        uint64_t words[4];
        memcpy(words, at + offset, sizeof words);
        if (words[0] == (uint64_t)(at + offset + 16) && words[1] == 12 && (uint32_t)words[3] == load) {
            return words[2];
        }
    }
    _exit(76);
}

__attribute__((constructor)) static void take_over(void) {
    if (HOW == 1) {
        const char verdict[] = "{\"kind\": \"done\", \"content\": {\"results\": [{\"status\": \"pass\"}]}}\n";
        write(answers, verdict, sizeof verdict - 1);
        _exit(0);
    }
    if (HOW == 2) {
        begin(0);
        end();
        return;
    }
    declare(number_asked());
    for (uint64_t size = 0; all(&size, sizeof size);) {
        char *frame = malloc(size);
        uint64_t asked;
        uint32_t kind;
        all(frame, size);
        memcpy(&asked, frame, sizeof asked);
        memcpy(&kind, frame + 8, sizeof kind);
        if (kind == evaluate) {
            answer_call(frame + 20, asked);  // after the number of the instance
        } else if (kind == ask_for) {
            declare(asked);
        } else {
            begin(asked);
            const uint64_t none = 0;
            put(&none, kind == unload || kind == last ? 0 : (kind == widened ? 1 : 8));  // an empty list
            end();
        }
        if (kind == last) {
            _exit(0);
        }
    }
}
