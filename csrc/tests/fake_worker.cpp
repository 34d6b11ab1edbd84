#include "fake_worker.hpp"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <system_error>
#include <thread>

#include "mtt/isolation/orders.hpp"
#include "mtt/isolation/wire.hpp"
#include "mtt/runner/selection.hpp"

namespace testing {

namespace {

using nlohmann::json;

struct Worker {
    mtt::Orders orders;
    std::vector<mtt::Selected> selection;

    static void raw(const std::string& text) {
        if (write(3, text.data(), text.size()) < 0) {
            _exit(9);
        }
    }
    void send(const char* kind, const json& content) const {
        raw(orders.token + mtt::dump({{"kind", kind}, {"content", content}}));
    }
    void done(size_t k, const std::string& name) const {
        send("done", {{"check", k}, {"results", {mtt::to_json(mtt::passed(name))}}, {"problem", ""}, {"calls", 7},
                      {"model", nullptr}, {"golden_pack", false}, {"recorded", nullptr}});
    }
    /// Every check from the first one on passes, except that `meanwhile` may do something in the middle of one.
    void run(const std::function<void(size_t)>& meanwhile) const {
        for (size_t k = orders.first; k < selection.size(); ++k) {
            if (selection[k].wanted.empty()) {
                continue;
            }
            send("begin", k);
            meanwhile(k);
            done(k, selection[k].wanted.front());
        }
        send("end", nullptr);
    }
};

json isolation() { return {{"network", "none"}, {"filesystem", "none"}, {"notes", {"weak sandbox: of paper"}}}; }

void sleep_forever() {
    while (true) {
        std::this_thread::sleep_for(std::chrono::hours(1));
    }
}

using Deed = std::function<void(const Worker&)>;

/// What happens in the middle of the second check.
Deed second(const std::function<void(const Worker&)>& deed) {
    return [deed](const Worker& worker) {
        worker.run([&](size_t k) {
            if (k == 1) {
                deed(worker);
            }
        });
    };
}

const std::map<std::string, Deed>& deeds() {
    static const std::map<std::string, Deed> all = {
        {"works", [](const Worker& worker) { worker.run([](size_t) {}); }},
        {"speaks too early", [](const Worker& worker) { worker.run([](size_t) {}); }},
        {"dies always", [](const Worker& worker) { worker.run([](size_t) { raise(SIGSEGV); }); }},
        {"dies before", [](const Worker&) { raise(SIGILL); }},
        {"dies at the end", [](const Worker& worker) {
            worker.run([](size_t) {});
            raise(SIGABRT);
        }},
        {"dies between", [](const Worker& worker) {
            worker.run([&](size_t k) {
                if (k == 1) {
                    worker.done(1, worker.selection[1].wanted.front());
                    raise(SIGBUS);
                }
            });
        }},
        {"hangs", second([](const Worker&) { sleep_forever(); })},
        {"exits", second([](const Worker&) { _exit(0); })},
        {"exits in a target", second([](const Worker& worker) {
            worker.send("target", "energy/pbe");
            _exit(0);
        })},
        {"says end too early", second([](const Worker& worker) {
            worker.send("end", nullptr);
            _exit(0);
        })},
        {"garbage", second([](const Worker&) { Worker::raw("{\"kind\": \"end\"}\n\xff\x00\n"); })},
        {"half a line", second([](const Worker& worker) {
            Worker::raw(worker.orders.token + "{\"kind\"");
            _exit(0);
        })},
        {"no such kind", second([](const Worker& worker) { worker.send("verdict", "pass"); })},
        {"another check", second([](const Worker& worker) { worker.done(0, "file"); })},
        {"another name", second([](const Worker& worker) { worker.done(1, "made up"); })},
        {"wrong types", second([](const Worker& worker) { worker.send("done", json::array({1, 2})); })},
        {"deep", second([](const Worker& worker) { Worker::raw(worker.orders.token + std::string(100000, '[') + "\n"); })},
        {"floods the channel", second([](const Worker&) {
            const std::string block(1 << 16, 'x');
            while (true) {
                Worker::raw(block);
            }
        })},
        {"floods the output", second([](const Worker&) {
            const std::string block(1 << 16, 'x');
            for (int k = 0; k < 3000; ++k) {
                std::cout << block;
            }
            std::cout << std::flush;
        })},
        {"colors its last words", second([](const Worker&) {
            std::cerr << "\x1b[31mred\x1b[0m\n" << std::flush;
            raise(SIGABRT);
        })},
        {"praises its sandbox", second([](const Worker& worker) { worker.send("isolation", isolation()); })},
        {"starts threads", second([](const Worker&) {
            try {
                for (int k = 0; k < 2000; ++k) {
                    std::thread(sleep_forever).detach();
                }
            } catch (const std::system_error&) {  // a machine with limits of its own
            }
            sleep_forever();
        })},
        {"prints its environment", second([](const Worker&) {
            for (char** entry = environ; *entry != nullptr; ++entry) {
                std::cerr << *entry << " ";
            }
            std::cerr << std::endl;
            _exit(0);
        })},
    };
    return all;
}

}  // namespace

int fake_worker(const std::string& deed) {
    const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
    Worker worker;
    worker.orders = mtt::orders_from_text(text);
    worker.selection = mtt::select_checks(worker.orders.options);
    if (deed == "refuses") {
        worker.send("refused", nullptr);
        return 0;
    }
    if (deed != "dies before" && deed != "speaks too early") {
        worker.send("isolation", isolation());
    }
    deeds().at(deed)(worker);
    return 0;
}

}  // namespace testing
