// A test framework of forty lines. Catch2 and GoogleTest come in no wheel, and everything that mtt needs is installed
// from wheels; what the tests use of either is this.
#pragma once

#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace testing {

struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Test {
    std::string name;
    std::function<void()> body;
};

inline std::vector<Test>& all() {
    static std::vector<Test> tests;
    return tests;
}

struct Registered {
    Registered(std::string name, std::function<void()> body) { all().push_back({std::move(name), std::move(body)}); }
};

[[noreturn]] inline void fail(const char* file, int line, const std::string& what) {
    throw Failure(std::string(file) + ":" + std::to_string(line) + ": " + what);
}

}  // namespace testing

#define TEST_JOIN2(a, b) a##b
#define TEST_JOIN(a, b) TEST_JOIN2(a, b)
#define TEST(name)                                                                                          \
    static void TEST_JOIN(test_at_line_, __LINE__)();                                                       \
    static const testing::Registered TEST_JOIN(registered_, __LINE__)(name, TEST_JOIN(test_at_line_, __LINE__)); \
    static void TEST_JOIN(test_at_line_, __LINE__)()
#define CHECK(condition)                                             \
    do {                                                             \
        if (!(condition)) {                                          \
            testing::fail(__FILE__, __LINE__, "not true: " #condition); \
        }                                                            \
    } while (false)
#define CHECK_CLOSE(a, b, tolerance)                                                                      \
    do {                                                                                                  \
        const double left = (a), right = (b);                                                             \
        if (!(std::abs(left - right) <= (tolerance))) {                                                   \
            std::ostringstream text;                                                                      \
            text.precision(17);                                                                           \
            text << #a " = " << left << ", " #b " = " << right;                                           \
            testing::fail(__FILE__, __LINE__, text.str());                                                \
        }                                                                                                 \
    } while (false)
// The expression must throw `type` with a message that contains `text`.
#define CHECK_THROWS(expression, type, text)                                                           \
    do {                                                                                               \
        bool thrown = false;                                                                           \
        try {                                                                                          \
            (void)(expression);                                                                        \
        } catch (const type& error) {                                                                  \
            thrown = true;                                                                             \
            if (std::string(error.what()).find(text) == std::string::npos) {                           \
                testing::fail(__FILE__, __LINE__, std::string("another message: ") + error.what());    \
            }                                                                                          \
        }                                                                                              \
        if (!thrown) {                                                                                 \
            testing::fail(__FILE__, __LINE__, "nothing thrown: " #expression);                         \
        }                                                                                              \
    } while (false)
