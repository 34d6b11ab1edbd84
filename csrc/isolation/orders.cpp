#include "mtt/isolation/orders.hpp"

namespace mtt {

std::string to_text(const Orders& orders) {
    Packer pack;
    pack(orders);
    return pack.take();
}

Orders orders_from_text(std::string text) {
    Unpacker unpack(std::move(text));
    auto out = unpack.take<Orders>();
    unpack.finish();
    return out;
}

}  // namespace mtt
