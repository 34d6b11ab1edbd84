// Runs all tests, or those whose name contains the first argument.
#include <iostream>

#include "fake_worker.hpp"
#include "testing.hpp"

int main(int argc, char** argv) {
    if (argc == 3 && std::string(argv[1]) == testing::fake_worker_flag) {
        return testing::fake_worker(argv[2]);
    }
    const std::string wanted = argc > 1 ? argv[1] : "";
    int failures = 0;
    int run = 0;
    for (const auto& test : testing::all()) {
        if (test.name.find(wanted) == std::string::npos) {
            continue;
        }
        ++run;
        try {
            test.body();
        } catch (const std::exception& error) {
            ++failures;
            std::cout << "FAILED " << test.name << "\n    " << error.what() << "\n";
        }
    }
    std::cout << run << " tests, " << failures << " failed\n";
    return failures == 0 && run > 0 ? 0 : 1;
}
