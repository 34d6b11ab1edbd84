// Usage: consumer MODEL PROGRAM. Prints the verdict of a run in this process, and of one in a process of its own.
#include <iostream>

#include <mtt/supervisor.hpp>
#include <mtt/verify.hpp>

int main(int argc, char** argv) {
    if (argc != 3) {
        return 2;
    }
    mtt::VerifyOptions options;
    options.path = argv[1];
    options.level = mtt::Level::quick;
    options.threads = 1;
    mtt::Supervision how;
    how.worker = {argv[2], mtt::worker_flag};
    for (const auto& report : {mtt::verify(options), mtt::supervise(options, how)}) {
        for (const auto& entry : report.entries) {
            if (entry.result.status == mtt::Status::fail) {
                std::cout << entry.family << "/" << entry.result.name << ": " << entry.result.message << "\n";
            }
        }
        std::cout << (report.isolation.process ? "apart" : "here") << " " << (report.passed() ? "pass" : "fail")
                  << ", torch " << report.torch << ", " << mtt::to_json(report).size() / 1000 << " kB of JSON\n";
    }
    return 0;
}
