#include "mtt/model/archive.hpp"
#include "mtt/model/pickles.hpp"
#include "testing.hpp"

using namespace mtt;

namespace {

PickleRules rules() {
    return {"data/", [](const std::string& name) {
                return name == "data/0" ? std::optional<uint64_t>(32) : std::nullopt;
            },
            [](const std::string& name) { return name == "__torch__.a.Model"; }};
}

std::string text(const std::string& value) {
    return std::string("X") + char(value.size()) + std::string(3, '\0') + value;
}

std::string integer(int64_t value) {
    std::string out = "\x8a\x08";
    return out.append(reinterpret_cast<const char*>(&value), 8);
}

/// A tensor as TorchScript writes it: 4 numbers of 8 bytes in data/0, seen as `sizes` with `strides` from `offset`.
std::string tensor(int64_t offset, const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides,
                   int64_t count = 4, const std::string& key = "0", const std::string& type = "DoubleStorage") {
    std::string out = "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\n" + type + "\n" + text(key) +
                      text("cpu") + integer(count) + "tQ" + integer(offset);
    for (const auto* numbers : {&sizes, &strides}) {
        out += "(";
        for (const int64_t number : *numbers) {
            out += integer(number);
        }
        out += "t";
    }
    return out + "\x89" "ccollections\nOrderedDict\n)RtR";
}

std::string problem(const std::string& body) { return pickle_problem("\x80\x02" + body + ".", rules()); }

void refused(const std::string& body, const std::string& why) {
    const auto found = problem(body);
    if (found.find(why) == std::string::npos) {
        testing::fail(__FILE__, __LINE__, "'" + found + "' instead of '" + why + "'");
    }
}

}  // namespace

TEST("what TorchScript writes is taken") {
    CHECK(problem(")").empty());
    CHECK(problem(tensor(0, {4}, {1})).empty());
    CHECK(problem(tensor(1, {3}, {1})).empty());
    CHECK(problem(tensor(0, {2, 2}, {2, 1})).empty());
    CHECK(problem(tensor(0, {1000000}, {0})).empty());  // expanded: one number, seen a million times
    CHECK(problem(tensor(0, {0, 5}, {5, 1})).empty());
    CHECK(problem("c__torch__.a\nModel\n)\x81}(" + text("weight") + tensor(0, {4}, {1}) + "ub").empty());
    CHECK(problem("ctorch.jit._pickle\nrestore_type_tag\n](K\x01" "e" + text("List[int]") + "\x86R").empty());
}

TEST("a tensor that reaches beyond its memory is refused") {
    refused(tensor(0, {5}, {1}), "beyond its memory");
    refused(tensor(1, {4}, {1}), "beyond its memory");
    refused(tensor(0, {2}, {4}), "beyond its memory");
    refused(tensor(-1, {1}, {1}), "begins outside");
    refused(tensor(0, {1}, {-1}), "impossible size");
    refused(tensor(0, {-1}, {1}), "impossible size");
    refused(tensor(int64_t(1) << 61, {1}, {1}), "begins outside");
    refused(tensor(0, {int64_t(1) << 40, int64_t(1) << 40}, {1, 1}), "impossible size");
    refused(tensor(0, {3, 3}, {int64_t(1) << 55, int64_t(1) << 55}), "beyond its memory");
    refused(tensor(0, {4}, {1}, 5), "larger than its record");
    refused(tensor(0, {1}, {1}, int64_t(1) << 61), "impossible size");
    refused(tensor(0, {1}, {1}, -1), "impossible size");
    refused(tensor(0, {4}, {1}, 4, "1"), "larger than its record");
    refused(tensor(0, {4}, {1}, 4, "../0"), "unusual name");
    refused(tensor(0, {4}, {1}, 2), "beyond its memory");
    refused(tensor(0, {4}, {1}, 4, "0", "ComplexDoubleStorage"), "larger than its record");
    refused(tensor(0, {4}, {1}, 4, "0", "QInt8Storage"), "builds 'torch.QInt8Storage'");
    refused(tensor(0, {1, 2}, {1}), "impossible dimensions");
}

TEST("instructions and functions that TorchScript does not write are refused") {
    refused("cos\nsystem\n(" + text("true") + "tR", "builds 'os.system'");
    refused("c__torch__.b\nOther\n)\x81}b", "builds '__torch__.b.Other'");
    refused("ctorch._utils\n_rebuild_sparse_tensor\n)R", "builds");
    refused("ctorch._utils\n_rebuild_qtensor\n)R", "builds");
    refused("ctorch.distributed.rpc\nrref\n)R", "builds");
    refused("c__main__\nTensorID\n)R", "builds");
    refused("K\x01)R", "calls what is no function");          // the number of a function instead of its name
    refused("](K\x01K\x02l.", "does not write");
    refused("}K\x01K\x02s", "does not write");
    refused("}(K\x01u", "has no value");                       // an odd number of keys and values
    refused("}(K\x01K\x02K\x03u", "has no value");
    refused("ctorch\nLongStorage\n", "");
    refused("e", "takes what is not there");
    refused("h\x05", "takes what is not there");
    refused("Nr\xff\xff\xff\x7f", "memo has gaps");
    refused(std::string(300, ']') , "end with one value");
    refused("]q" + std::string(1, '\0') + "(h" + std::string(1, '\0') + "e", "used already");  // a list that holds itself
    std::string deep = "]";
    for (int k = 0; k < 300; ++k) {
        deep += "\x85";
    }
    refused(deep, "nested too deeply");
    refused("X\xff\xff\xff\xff", "ends too early");
    CHECK(!pickle_problem("", rules()).empty());
    CHECK(!pickle_problem("\x80\x04N.", rules()).empty());
    CHECK(!pickle_problem("\x80\x02N.N.", rules()).empty());
}

TEST("extensions lie in the folder of extensions") {
    CHECK(extensions_problem("[]").empty());
    CHECK(extensions_problem(R"([{"name": "sphericart_torch", "path": "sphericart/lib/libsphericart_torch.so"}])").empty());
    CHECK(extensions_problem(R"([{"name": "/tmp/evil"}])").find("outside") != std::string::npos);
    CHECK(extensions_problem(R"([{"name": "../evil", "path": "x.so"}])").find("outside") != std::string::npos);
    CHECK(extensions_problem(R"([{"name": "evil", "path": "a/../../x.so"}])").find("outside") != std::string::npos);
    CHECK(extensions_problem(R"([{"name": "evil", "path": "/x.so"}])").find("outside") != std::string::npos);
    CHECK(extensions_problem(R"([{"name": "a\nb"}])").find("outside") != std::string::npos);
    CHECK(!extensions_problem(R"([{"path": "x.so"}])").empty());
    CHECK(!extensions_problem("{").empty());
}
